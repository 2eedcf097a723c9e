// The crops of all people in one launch; crop.py is the specification: cv2.warpAffine, bilinear to 8 bits with zeros
// outside the picture, then (level - mean) / deviation in planes. NV12 is made BGR on the way, pixel by pixel.
#include "common.cuh"
#include "nv12.cuh"

#define TILE_X 32
#define TILE_Y 8

// From crop to source pixels: x = a[0] x + a[1] y + a[2], y = a[3] x + a[4] y + a[5].
__device__ void invert(const double* m, double* a) {
    const double det = m[0] * m[4] - m[1] * m[3], d = det != 0 ? 1 / det : 0;
    a[0] = m[4] * d, a[1] = m[1] * -d, a[3] = m[3] * -d, a[4] = m[0] * d;
    a[2] = -a[0] * m[2] - a[1] * m[5];
    a[5] = -a[3] * m[2] - a[4] * m[5];
}

struct BgrPixels {
    const u8* image;
    int width;

    __device__ __forceinline__ BgrPixels(const u8* image, int, int width) : image(image), width(width) {}
    __device__ __forceinline__ int at(int y, int x, int channel) const {
        return __ldg(image + (size_t(y) * width + x) * 3 + channel);
    }
};

struct Nv12Pixels : Nv12 {
    using Nv12::Nv12;

    __device__ __forceinline__ int at(int y, int x, int channel) const {
        const Yuv yuv = pixel(y, x);
        return channel == 0 ? yuv.blue() : channel == 1 ? yuv.green() : yuv.red();
    }
};

template <class Pixels>
struct Source {
    Pixels pixels;
    int height, width;

    __device__ __forceinline__ int at(int y, int x, int channel) const {
        return y >= 0 && y < height && x >= 0 && x < width ? pixels.at(y, x, channel) : 0;
    }
    // The level between four pixels, of which (x, y) is the upper left, in shares of 1 / 32: OpenCV up to 4.
    __device__ __forceinline__ int level(int x, int y, int right, int down, int channel) const {
        const int upper = at(y, x, channel) * (32 - right) + at(y, x + 1, channel) * right;
        const int lower = at(y + 1, x, channel) * (32 - right) + at(y + 1, x + 1, channel) * right;
        return (upper * (32 - down) + lower * down + 512) >> 10;
    }
    // The same in any shares: OpenCV from 5.
    __device__ __forceinline__ int level(int x, int y, float right, float down, int channel) const {
        const float a = at(y, x, channel), b = at(y, x + 1, channel);
        const float c = at(y + 1, x, channel), d = at(y + 1, x + 1, channel);
        const float upper = fmaf(right, b - a, a), lower = fmaf(right, d - c, c);
        return __float2int_rn(fmaf(down, lower - upper, upper));
    }
};

struct Crop {
    int height, width, first_channel, channel_step;
    float mean[3], deviation[3];
};

// One block a tile of one person's crop. OpenCV counts source pixels in steps of 1/1024, rounds the part of x and
// the part of y apart, and takes the sum in steps of 1/32: so do a tile's columns and rows.
template <class Pixels, class T>
__device__ __forceinline__ void crop(Source<Pixels> source, const double* affines, T* planes, Crop spec, bool fixed_point) {
    __shared__ double inverse[6];
    __shared__ int column_x[TILE_X], column_y[TILE_X], row_x[TILE_Y], row_y[TILE_Y];
    const int person = blockIdx.z, x = blockIdx.x * TILE_X + threadIdx.x, y = blockIdx.y * TILE_Y + threadIdx.y;
    if (!threadIdx.x && !threadIdx.y) invert(affines + 6 * person, inverse);
    __syncthreads();
    if (!threadIdx.y) {
        column_x[threadIdx.x] = __double2int_rn(inverse[0] * x * 1024);
        column_y[threadIdx.x] = __double2int_rn(inverse[3] * x * 1024);
    }
    if (!threadIdx.x) {
        row_x[threadIdx.y] = __double2int_rn((inverse[1] * y + inverse[2]) * 1024) + 16;
        row_y[threadIdx.y] = __double2int_rn((inverse[4] * y + inverse[5]) * 1024) + 16;
    }
    __syncthreads();
    if (x >= spec.width || y >= spec.height) return;

    const int fixed_x = (row_x[threadIdx.y] + column_x[threadIdx.x]) >> 5;
    const int fixed_y = (row_y[threadIdx.y] + column_y[threadIdx.x]) >> 5;
    const float at_x = fmaf(float(inverse[0]), x, fmaf(float(inverse[1]), y, float(inverse[2])));
    const float at_y = fmaf(float(inverse[3]), x, fmaf(float(inverse[4]), y, float(inverse[5])));
    const int left = __float2int_rd(at_x), top = __float2int_rd(at_y);

    const size_t plane = size_t(spec.height) * spec.width;
    T* out = planes + 3 * plane * person + size_t(y) * spec.width + x;
    for (int c = 0; c < 3; ++c) {
        const int channel = spec.first_channel + c * spec.channel_step;
        const int level =
            fixed_point ? source.level(fixed_x >> 5, fixed_y >> 5, fixed_x & 31, fixed_y & 31, channel)
                        : source.level(left, top, at_x - left, at_y - top, channel);
        store(out + c * plane, (level - spec.mean[c]) / spec.deviation[c]);
    }
}

#define KERNEL(name, Pixels, T)                                                                                    \
    extern "C" __global__ void __launch_bounds__(TILE_X* TILE_Y) name(                                             \
        const u8* image, const double* affines, T* planes, int image_height, int image_width, int height, int width, \
        int rgb, int fixed_point, float mean_0, float mean_1, float mean_2, float deviation_0, float deviation_1,  \
        float deviation_2) {                                                                                       \
        const Source<Pixels> source = {Pixels(image, image_height, image_width), image_height, image_width};       \
        const Crop spec = {height, width, rgb ? 2 : 0, rgb ? -1 : 1, {mean_0, mean_1, mean_2},                     \
                           {deviation_0, deviation_1, deviation_2}};                                               \
        crop(source, affines, planes, spec, fixed_point);                                                          \
    }

KERNEL(crop_bgr_float, BgrPixels, float)
KERNEL(crop_bgr_half, BgrPixels, half16)
KERNEL(crop_nv12_float, Nv12Pixels, float)
KERNEL(crop_nv12_half, Nv12Pixels, half16)
