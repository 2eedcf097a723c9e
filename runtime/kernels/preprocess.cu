// A picture's way into the network in one pass: letterbox, normalise, planes. Preprocessor in geometry.py is the
// specification: bilinear in float with half-pixel centres, red, green and blue planes, zeros right and below.
#include "common.cuh"

#define SHIFTED 0x4b000000u  // the float 2^23: with a byte in its last bits it is 2^23 + byte
#define TWO_TO_23 8388608.0f

struct Rgb {
    float r, g, b;
};

__device__ __forceinline__ float mix(float a, float b, float share) { return fmaf(b - a, share, a); }
__device__ __forceinline__ Rgb mix(Rgb a, Rgb b, float share) {
    return {mix(a.r, b.r, share), mix(a.g, b.g, share), mix(a.b, b.b, share)};
}

// Between which two source pixels a target pixel's centre lies: `first` and the next one, and how near the latter.
struct Between {
    int first;
    float share;
};

// (at + 0.5) * source / target - 0.5, in whole numbers as long as it can be: no float rounds the place.
__device__ __forceinline__ Between between(int at, int source, int target, float half_per_target) {
    const int twice = 2 * target, centre = (2 * at + 1) * source - target;  // in 1 / twice pixels
    int first = __float2int_rd(centre * half_per_target);
    int rest = centre - first * twice;
    if (rest < 0) --first, rest += twice;
    if (rest >= twice) ++first, rest -= twice;
    if (first < 0) return {0, 0};
    if (first > source - 2) return {max(source - 2, 0), source > 1 ? 1.0f : 0.0f};
    return {first, rest * half_per_target};
}

// --- pictures of blue, green and red bytes --------------------------------------------------------------------

struct Bgr {
    const u8 *begin, *end;
    int width;

    // Two neighbouring pixels, six bytes, read as aligned words where all of these are the picture's own.
    __device__ __forceinline__ uint2 pair(const u8* p, bool alone) const {
        const u32 skip = size_t(p) & 3;
        const u8* word = p - skip;
        if (word < begin || word + 12 > end) {
            const u8* q = alone ? p : p + 3;
            return make_uint2(p[0] | p[1] << 8 | p[2] << 16 | u32(q[0]) << 24, q[1] | q[2] << 8);
        }
        const u32 a = __ldg((const u32*)word), b = __ldg((const u32*)word + 1), c = __ldg((const u32*)word + 2);
        return make_uint2(__funnelshift_r(a, b, 8 * skip), __funnelshift_r(b, c, 8 * skip));
    }

    __device__ __forceinline__ static float byte(u32 word, u32 place) {
        return __uint_as_float(__byte_perm(word, SHIFTED, 0x7440 | place));
    }

    // Between pixels `x.first` and the next of a row.
    __device__ __forceinline__ Rgb row(int y, Between x) const {
        const uint2 two = pair(begin + (size_t(y) * width + x.first) * 3, width == 1);
        const Rgb left = {byte(two.x, 2), byte(two.x, 1), byte(two.x, 0)};
        const Rgb right = {byte(two.y, 1), byte(two.y, 0), byte(two.x, 3)};
        return {fmaf(right.r - left.r, x.share, left.r - TWO_TO_23),
                fmaf(right.g - left.g, x.share, left.g - TWO_TO_23),
                fmaf(right.b - left.b, x.share, left.b - TWO_TO_23)};
    }
};

// --- pictures in NV12: bytes of brightness, then of colour for every two by two pixels ------------------------

struct Nv12 {
    const u8 *luma, *chroma;
    int width;

    // BT.601 in fixed point, to the same bytes as OpenCV.
    __device__ __forceinline__ Rgb pixel(int y, int x) const {
        const u8* uv = chroma + size_t(y / 2) * width + (x & ~1);
        const int light = max(__ldg(luma + size_t(y) * width + x) - 16, 0) * 1220542 + (1 << 19);
        const int u = __ldg(uv) - 128, v = __ldg(uv + 1) - 128;
        return {level(light + 1673527 * v), level(light - 852492 * v - 409993 * u), level(light + 2116026 * u)};
    }

    __device__ __forceinline__ static float level(int fixed) { return min(max(fixed >> 20, 0), 255); }

    __device__ __forceinline__ Rgb row(int y, Between x) const {
        return mix(pixel(y, x.first), pixel(y, min(x.first + 1, width - 1)), x.share);
    }
};

// --- the pass -------------------------------------------------------------------------------------------------

struct Sizes {
    int source_height, source_width, height, width, canvas_height, canvas_width;
};

template <class Picture, class T>
__device__ void preprocess(Picture picture, T* planes, Sizes size, Rgb gain, Rgb offset) {
    const float across = 0.5f / size.width, down = 0.5f / size.height;
    const size_t plane = size_t(size.canvas_height) * size.canvas_width;
    for (int y = blockIdx.y * blockDim.y + threadIdx.y; y < size.canvas_height; y += gridDim.y * blockDim.y) {
        const Between row = between(y, size.source_height, size.height, down);
        for (int x = blockIdx.x * blockDim.x + threadIdx.x; x < size.canvas_width; x += gridDim.x * blockDim.x) {
            Rgb value = {0, 0, 0};
            if (y < size.height && x < size.width) {
                const Between column = between(x, size.source_width, size.width, across);
                const int below = min(row.first + 1, size.source_height - 1);
                value = mix(picture.row(row.first, column), picture.row(below, column), row.share);
                value = {fmaf(value.r, gain.r, -offset.r), fmaf(value.g, gain.g, -offset.g),
                         fmaf(value.b, gain.b, -offset.b)};
            }
            T* out = planes + size_t(y) * size.canvas_width + x;
            store(out, value.r);
            store(out + plane, value.g);
            store(out + 2 * plane, value.b);
        }
    }
}

#define KERNEL(name, T, picture)                                                                                   \
    extern "C" __global__ void __launch_bounds__(256) name(                                                        \
        const u8* image, T* planes, int source_height, int source_width, int height, int width, int canvas_height, \
        int canvas_width, float gain_r, float gain_g, float gain_b, float offset_r, float offset_g,                \
        float offset_b) {                                                                                          \
        const size_t pixels = size_t(source_height) * source_width;                                                \
        const Sizes size = {source_height, source_width, height, width, canvas_height, canvas_width};              \
        preprocess(picture, planes, size, {gain_r, gain_g, gain_b}, {offset_r, offset_g, offset_b});               \
    }

KERNEL(bgr_float, float, (Bgr{image, image + 3 * pixels, source_width}))
KERNEL(bgr_half, half16, (Bgr{image, image + 3 * pixels, source_width}))
KERNEL(nv12_float, float, (Nv12{image, image + pixels, source_width}))
KERNEL(nv12_half, half16, (Nv12{image, image + pixels, source_width}))
