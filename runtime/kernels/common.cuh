// What all kernels share. Nothing is included, so that NVRTC needs no headers of the toolkit.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

#define FULL 0xffffffffu  // all lanes of a warp
#define INF __int_as_float(0x7f800000)
#define NOT_SEEN __int_as_float(0x7fc00000)  // NaN

// The bits of a float as a half (IEEE 754, to the nearest even), and back.
#ifdef CUDAEMU
__device__ __forceinline__ unsigned short half_bits(float value) {
    _Float16 half = _Float16(value);
    unsigned short bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}
__device__ __forceinline__ float from_half(unsigned short bits) {
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    return float(half);
}
#else
__device__ __forceinline__ unsigned short half_bits(float value) {
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}
__device__ __forceinline__ float from_half(unsigned short bits) {
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}
#endif

struct half16 {
    unsigned short bits;
};

__device__ __forceinline__ float load(const float* p) { return __ldg(p); }
__device__ __forceinline__ float load(const half16* p) { return from_half(__ldg(&p->bits)); }
__device__ __forceinline__ void store(float* p, float value) { *p = value; }
__device__ __forceinline__ void store(half16* p, float value) { p->bits = half_bits(value); }

// As NumPy's minimum and maximum: NaN where either is.
__device__ __forceinline__ float lesser(float a, float b) { return a <= b || a != a ? a : b; }
__device__ __forceinline__ float greater(float a, float b) { return a >= b || a != a ? a : b; }
