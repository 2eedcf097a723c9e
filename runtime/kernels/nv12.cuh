// NV12: a byte of brightness for each pixel, then bytes of colour, u and v, for every two by two of them. BT.601 in
// fixed point, to the same bytes as OpenCV's cvtColor.

struct Yuv {
    int light, u, v;

    __device__ __forceinline__ static int level(int fixed) { return min(max(fixed >> 20, 0), 255); }
    __device__ __forceinline__ int red() const { return level(light + 1673527 * v); }
    __device__ __forceinline__ int green() const { return level(light - 852492 * v - 409993 * u); }
    __device__ __forceinline__ int blue() const { return level(light + 2116026 * u); }
};

struct Nv12 {
    const u8 *luma, *chroma;
    int width;

    __device__ __forceinline__ Nv12(const u8* image, int height, int width)
        : luma(image), chroma(image + size_t(height) * width), width(width) {}

    __device__ __forceinline__ Yuv pixel(int y, int x) const {
        const u8* uv = chroma + size_t(y / 2) * width + (x & ~1);
        const int light = max(__ldg(luma + size_t(y) * width + x) - 16, 0) * 1220542 + (1 << 19);
        return {light, __ldg(uv) - 128, __ldg(uv + 1) - 128};
    }
};
