// A picture's way into the network in one pass: letterbox, normalise, planes. Preprocessor in geometry.py is the
// specification: bilinear in float with half-pixel centres, red, green and blue planes, zeros right and below. With
// levels it is Letterboxer in letterbox.py, for detectors: rounded to bytes, in either order, and grey instead of 0.
//
// Bandwidth is the aim, so instructions count: rows are worked out once a block, columns once for four pixels, six
// bytes are three words, and a byte becomes a float by a permutation.
#include "common.cuh"
#include "nv12.cuh"

#define TILE_X 32
#define TILE_Y 32
#define THREADS_Y 8
#define SHIFTED 0x4b000000u  // the float 2^23: with a byte in its last bits it is 2^23 + byte
#define TWO_TO_23 8388608.0f

struct Rgb {
    float r, g, b;
};

__device__ __forceinline__ float mix(float a, float b, float share) { return fmaf(b - a, share, a); }
__device__ __forceinline__ Rgb mix(Rgb a, Rgb b, float share) {
    return {mix(a.r, b.r, share), mix(a.g, b.g, share), mix(a.b, b.b, share)};
}

// Between which two source pixels a target pixel's centre lies, and how near to the latter.
struct __align__(16) Between {
    int first, next;
    float share;
};

// (at + 0.5) * source / target - 0.5, in whole numbers as long as it can be: no float rounds the place.
__device__ __forceinline__ Between between(int at, int source, int target, float half_per_target) {
    const int twice = 2 * target, centre = (2 * at + 1) * source - target;  // in 1 / twice pixels
    int first = __float2int_rd(centre * half_per_target);
    int rest = centre - first * twice;
    if (rest < 0) --first, rest += twice;
    if (rest >= twice) ++first, rest -= twice;
    if (first < 0) first = rest = 0;
    if (first >= source - 1) first = source - 1, rest = 0;
    return {first, min(first + 1, source - 1), rest * half_per_target};
}

// --- pictures of blue, green and red bytes --------------------------------------------------------------------

struct Bgr {
    const u8* image;
    const u32* words;  // aligned, at or before the picture's beginning
    u32 skipped, first_word, last_word;  // bytes before the picture; from which words on three are its own
    int width;

    __device__ __forceinline__ Bgr(const u8* image, int height, int width) : image(image), width(width) {
        skipped = size_t(image) & 3;
        words = (const u32*)(image - skipped);
        first_word = skipped ? 1 : 0;
        const u32 end = (skipped + 3u * height * width) / 4;
        last_word = end > 2 ? end - 2 : 0;
    }

    __device__ __forceinline__ static float byte(u32 word, u32 place) {
        return __uint_as_float(__byte_perm(word, SHIFTED, 0x7440 | place));
    }

    // Two neighbouring pixels, six bytes.
    __device__ __forceinline__ static uint2 pair(const u32* word, u32 shift) {
        const u32 a = __ldg(word), b = __ldg(word + 1), c = __ldg(word + 2);
        return make_uint2(__funnelshift_r(a, b, shift), __funnelshift_r(b, c, shift));
    }
    __device__ __forceinline__ static uint2 pair(const u8* p, const u8* q) {
        return make_uint2(p[0] | p[1] << 8 | p[2] << 16 | u32(q[0]) << 24, q[1] | q[2] << 8);
    }

    __device__ __forceinline__ static Rgb mixed(uint2 pair, float share) {
        const Rgb left = {byte(pair.x, 2), byte(pair.x, 1), byte(pair.x, 0)};
        const Rgb right = {byte(pair.y, 1), byte(pair.y, 0), byte(pair.x, 3)};
        return {fmaf(right.r - left.r, share, left.r - TWO_TO_23), fmaf(right.g - left.g, share, left.g - TWO_TO_23),
                fmaf(right.b - left.b, share, left.b - TWO_TO_23)};
    }

    // Between four pixels; the second of a row that has no second one has no share.
    __device__ __forceinline__ Rgb operator()(Between y, Between x) const {
        const u32 upper = 3u * (y.first * width + x.first) + skipped, lower = 3u * (y.next * width + x.first) + skipped;
        uint2 above, below;
        if (upper / 4 >= first_word && lower / 4 < last_word) {
            above = pair(words + upper / 4, 8 * (upper & 3));
            below = pair(words + lower / 4, 8 * (lower & 3));
        } else {
            const u8 *p = image + (upper - skipped), *q = image + (lower - skipped);
            const int step = 3 * (x.next - x.first);
            above = pair(p, p + step);
            below = pair(q, q + step);
        }
        return mix(mixed(above, x.share), mixed(below, x.share), y.share);
    }
};

// --- pictures in NV12 -----------------------------------------------------------------------------------------

struct BetweenNv12 : Nv12 {
    using Nv12::Nv12;

    __device__ __forceinline__ Rgb rgb(int y, int x) const {
        const Yuv yuv = pixel(y, x);
        return {float(yuv.red()), float(yuv.green()), float(yuv.blue())};
    }
    __device__ __forceinline__ Rgb operator()(Between y, Between x) const {
        return mix(mix(rgb(y.first, x.first), rgb(y.first, x.next), x.share),
                   mix(rgb(y.next, x.first), rgb(y.next, x.next), x.share), y.share);
    }
};

// --- the pass -------------------------------------------------------------------------------------------------

// For each colour what a level is multiplied by and what is added then; and what lies right and below. `first` and
// `last` are the planes of red and of blue.
struct Normal {
    Rgb gain, offset, rest;
    int first, last;
};

__device__ __forceinline__ float level(float value) { return floorf(value + 0.5f); }

struct Sizes {
    int source_height, source_width, height, width, canvas_height, canvas_width;
};

template <bool LEVELS, class Picture, class T>
__device__ __forceinline__ void tile(const Picture& picture, const Between* rows, T* planes, Sizes size,
                                     Normal normal, int x, int first_y) {
    if (x >= size.canvas_width) return;
    const size_t plane = size_t(size.canvas_height) * size.canvas_width;
    const Between column = between(x, size.source_width, size.width, 0.5f / size.width);
    T* out = planes + size_t(first_y + threadIdx.y) * size.canvas_width + x;
    for (int i = threadIdx.y; i < TILE_Y && first_y + i < size.canvas_height; i += THREADS_Y) {
        Rgb value = normal.rest;
        if (x < size.width && first_y + i < size.height) {
            value = picture(rows[i], column);
            if (LEVELS) value = {level(value.r), level(value.g), level(value.b)};
            value = {fmaf(value.r, normal.gain.r, normal.offset.r), fmaf(value.g, normal.gain.g, normal.offset.g),
                     fmaf(value.b, normal.gain.b, normal.offset.b)};
        }
        store(out + normal.first * plane, value.r);
        store(out + plane, value.g);
        store(out + normal.last * plane, value.b);
        out += THREADS_Y * size.canvas_width;
    }
}

template <bool LEVELS, class Picture, class T>
__device__ __forceinline__ void preprocess(const Picture& picture, Between* rows, T* planes, Sizes size,
                                           Normal normal) {
    const int thread = threadIdx.y * TILE_X + threadIdx.x;
    for (int y = blockIdx.y * TILE_Y; y < size.canvas_height; y += gridDim.y * TILE_Y) {
        if (thread < TILE_Y) rows[thread] = between(y + thread, size.source_height, size.height, 0.5f / size.height);
        __syncthreads();
        for (int x = blockIdx.x * TILE_X; x < size.canvas_width; x += gridDim.x * TILE_X)
            tile<LEVELS>(picture, rows, planes, size, normal, x + threadIdx.x, y);
        __syncthreads();
    }
}

#define SIZES                                                                                                      \
    const u8 *image, int source_height, int source_width, int height, int width, int canvas_height,                \
        int canvas_width, float gain_r, float gain_g, float gain_b, float offset_r, float offset_g, float offset_b
#define RUN(LEVELS, Picture, ...)                                                                                  \
    __shared__ Between rows[TILE_Y];                                                                               \
    const Sizes size = {source_height, source_width, height, width, canvas_height, canvas_width};                  \
    const Normal normal = {{gain_r, gain_g, gain_b}, {offset_r, offset_g, offset_b}, __VA_ARGS__};                 \
    preprocess<LEVELS>(Picture(image, source_height, source_width), rows, planes, size, normal)

#define KERNEL(name, Picture, T)                                                                                   \
    extern "C" __global__ void __launch_bounds__(TILE_X* THREADS_Y) name(T* planes, SIZES) {                       \
        RUN(false, Picture, {0, 0, 0}, 0, 2);                                                                      \
    }
#define LEVELS_KERNEL(name, Picture, T)                                                                            \
    extern "C" __global__ void __launch_bounds__(TILE_X* THREADS_Y)                                                \
        name(T* planes, SIZES, float rest_r, float rest_g, float rest_b, int bgr) {                                \
        RUN(true, Picture, {rest_r, rest_g, rest_b}, bgr ? 2 : 0, bgr ? 0 : 2);                                    \
    }

KERNEL(bgr_float, Bgr, float)
KERNEL(bgr_half, Bgr, half16)
KERNEL(nv12_float, BetweenNv12, float)
KERNEL(nv12_half, BetweenNv12, half16)
LEVELS_KERNEL(bgr_levels_float, Bgr, float)
LEVELS_KERNEL(bgr_levels_half, Bgr, half16)
LEVELS_KERNEL(nv12_levels_float, BetweenNv12, float)
LEVELS_KERNEL(nv12_levels_half, BetweenNv12, half16)
