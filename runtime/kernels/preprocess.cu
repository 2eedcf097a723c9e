// A picture's way into the network in one pass: letterbox, normalise, planes. Preprocessor in geometry.py is the
// specification: bilinear in float with half-pixel centres, red, green and blue planes, zeros right and below. With
// levels it is Letterboxer in letterbox.py, for detectors: rounded to bytes, in either order, and grey instead of 0.
//
// Bandwidth is the aim, so that loads must be under way and instructions few: a thread has two columns, of which it
// loads two rows before it needs either, and stores both at once. Rows are worked out once a block, columns once a
// tile, six bytes are three words, and a byte becomes a float by a permutation.
#include "common.cuh"
#include "nv12.cuh"

#define THREADS_X 32
#define THREADS_Y 8
#define TILE_X 64
#define TILE_Y 32
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

    // What lies between has two rows of two pixels; the second of a row that has no second one has no share.
    struct Loaded {
        uint2 above, below;
    };
    static constexpr int AT_ONCE = 2;  // rows

    __device__ __forceinline__ u32 at(int y, int x) const { return 3u * (y * width + x) + skipped; }

    // Whether three words are the picture's own at any of these.
    __device__ __forceinline__ bool holds(Between top, Between bottom, Between left, Between right) const {
        return at(top.first, left.first) / 4 >= first_word && at(bottom.next, right.first) / 4 < last_word;
    }
    template <bool HELD>
    __device__ __forceinline__ Loaded load(Between y, Between x) const {
        const u32 upper = at(y.first, x.first), lower = at(y.next, x.first);
        if (HELD) return {pair(words + upper / 4, 8 * (upper & 3)), pair(words + lower / 4, 8 * (lower & 3))};
        const u8 *p = image + (upper - skipped), *q = image + (lower - skipped);
        const int step = 3 * (x.next - x.first);
        return {pair(p, p + step), pair(q, q + step)};
    }
    __device__ __forceinline__ static Rgb value(Loaded pixels, float down, float right) {
        return mix(mixed(pixels.above, right), mixed(pixels.below, right), down);
    }
};

// --- pictures in NV12 -----------------------------------------------------------------------------------------

struct BetweenNv12 : Nv12 {
    using Nv12::Nv12;

    __device__ __forceinline__ Rgb rgb(int y, int x) const {
        const Yuv yuv = pixel(y, x);
        return {float(yuv.red()), float(yuv.green()), float(yuv.blue())};
    }
    using Loaded = Rgb;
    static constexpr int AT_ONCE = 1;

    __device__ __forceinline__ bool holds(Between, Between, Between, Between) const { return true; }
    template <bool HELD>
    __device__ __forceinline__ Rgb load(Between y, Between x) const {
        return mix(mix(rgb(y.first, x.first), rgb(y.first, x.next), x.share),
                   mix(rgb(y.next, x.first), rgb(y.next, x.next), x.share), y.share);
    }
    __device__ __forceinline__ static Rgb value(Rgb mixed, float, float) { return mixed; }
};

// --- the pass -------------------------------------------------------------------------------------------------

// For each colour what a level is multiplied by and what is added then; and what lies right and below. `first` and
// `last` are the planes of red and of blue.
struct Normal {
    Rgb gain, offset, rest;
    int first, last;
};

__device__ __forceinline__ float level(float value) { return floorf(value + 0.5f); }

// Two neighbours of a row of which all begin at even places, or not; the second may be outside.
__device__ __forceinline__ void store(float* p, float a, float b, bool even, bool two) {
    if (even) *(float2*)p = make_float2(a, b);
    else if (p[0] = a, two) p[1] = b;
}
__device__ __forceinline__ void store(half16* p, float a, float b, bool even, bool two) {
    if (even) *(u32*)p = half_bits(a) | u32(half_bits(b)) << 16;
    else if (p->bits = half_bits(a), two) p[1].bits = half_bits(b);
}

struct Sizes {
    int source_height, source_width, height, width, canvas_height, canvas_width;
};

template <bool LEVELS>
__device__ __forceinline__ Rgb normalised(Rgb value, const Normal& normal) {
    if (LEVELS) value = {level(value.r), level(value.g), level(value.b)};
    return {fmaf(value.r, normal.gain.r, normal.offset.r), fmaf(value.g, normal.gain.g, normal.offset.g),
            fmaf(value.b, normal.gain.b, normal.offset.b)};
}

// Two columns, `left` and `right`, from x on; every eighth row of 32.
template <bool LEVELS, bool HELD, class Picture, class T>
__device__ __forceinline__ void columns(const Picture& picture, const Between* rows, T* planes, Sizes size,
                                        const Normal& normal, Between left, Between right, int x, int first_y) {
    constexpr int AT_ONCE = HELD ? Picture::AT_ONCE : 1;
    const size_t plane = size_t(size.canvas_height) * size.canvas_width;
    const bool even = !(size.canvas_width & 1), two = x + 1 < size.canvas_width;
#pragma unroll 1
    for (int i = threadIdx.y; i < TILE_Y; i += AT_ONCE * THREADS_Y) {
        typename Picture::Loaded pixels[AT_ONCE][2];
#pragma unroll
        for (int r = 0; r < AT_ONCE; ++r) {
            const Between y = rows[i + r * THREADS_Y];
            pixels[r][0] = picture.template load<HELD>(y, left);
            pixels[r][1] = picture.template load<HELD>(y, right);
        }
#pragma unroll
        for (int r = 0; r < AT_ONCE; ++r) {
            const int row = first_y + i + r * THREADS_Y;
            if (row >= size.canvas_height) break;
            const float down = rows[i + r * THREADS_Y].share;
            Rgb a = normalised<LEVELS>(Picture::value(pixels[r][0], down, left.share), normal);
            Rgb b = normalised<LEVELS>(Picture::value(pixels[r][1], down, right.share), normal);
            if (row >= size.height || x >= size.width) a = normal.rest;
            if (row >= size.height || x + 1 >= size.width) b = normal.rest;
            T* out = planes + size_t(row) * size.canvas_width + x;
            store(out + normal.first * plane, a.r, b.r, even, two);
            store(out + plane, a.g, b.g, even, two);
            store(out + normal.last * plane, a.b, b.b, even, two);
        }
    }
}

template <bool LEVELS, class Picture, class T>
__device__ __forceinline__ void preprocess(const Picture& picture, Between* rows, T* planes, Sizes size,
                                           Normal normal) {
    const int thread = threadIdx.y * THREADS_X + threadIdx.x;
    for (int y = blockIdx.y * TILE_Y; y < size.canvas_height; y += gridDim.y * TILE_Y) {
        if (thread < TILE_Y) rows[thread] = between(y + thread, size.source_height, size.height, 0.5f / size.height);
        __syncthreads();
        for (int first = blockIdx.x * TILE_X; first < size.canvas_width; first += gridDim.x * TILE_X) {
            const int x = first + 2 * threadIdx.x;
            if (x >= size.canvas_width) continue;
            const Between left = between(x, size.source_width, size.width, 0.5f / size.width);
            const Between right = between(x + 1, size.source_width, size.width, 0.5f / size.width);
            if (picture.holds(rows[0], rows[TILE_Y - 1], left, right))
                columns<LEVELS, true>(picture, rows, planes, size, normal, left, right, x, y);
            else
                columns<LEVELS, false>(picture, rows, planes, size, normal, left, right, x, y);
        }
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
    extern "C" __global__ void __launch_bounds__(THREADS_X* THREADS_Y, 4) name(T* planes, SIZES) {                       \
        RUN(false, Picture, {0, 0, 0}, 0, 2);                                                                      \
    }
#define LEVELS_KERNEL(name, Picture, T)                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS_X* THREADS_Y, 4)                                                \
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
