// CUDA C on a CPU, for tests: one fiber per CUDA thread, blocks one after another, one thread of the system.
//
// Barriers and collectives are exact: deadlocks, and lanes of one mask at different collectives, abort with the
// names of what the threads wait for. Shared memory and new stacks hold no useful values. The environment's
// CUDAEMU_ORDER, "reverse" or a number, permutes the order of the threads, so that a missing barrier shows.
// Nothing is learnt of the memory model, of occupancy or of time.
//
//   g++ -std=c++20 -ffp-contract=off -c cudaemu.cpp
//   g++ -std=c++20 -ffp-contract=off -shared -fPIC -include cudaemu.h -x c++ kernels.cu cudaemu.o
//
// with a line CUDAEMU_EXPORT(kernel) for each, and nvcc's flags -fmad=false -prec-div=true -prec-sqrt=true.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#define CUDAEMU 1
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __constant__ static
#ifdef __SANITIZE_ADDRESS__
#define __shared__ static  // with red zones around it; blocks run in sequence, so one copy is enough
#else
#define __shared__ static __attribute__((section("cudaemu_shared")))  // spoilt before every block
#endif

struct dim3 { unsigned x = 1, y = 1, z = 1; };
using uint3 = dim3;
struct alignas(8) float2 { float x, y; };
struct float3 { float x, y, z; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) int2 { int x, y; };
struct alignas(8) uint2 { unsigned x, y; };
struct alignas(16) int4 { int x, y, z, w; };
struct uchar3 { unsigned char x, y, z; };
struct alignas(4) uchar4 { unsigned char x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }

namespace emu {
enum State { NEW, RUN, BLOCK, WARP, DONE };
struct Thread {
  dim3 tid;
  unsigned lin = 0;
  State state = NEW;
  const char* op = nullptr;
  unsigned mask = 0;
  uint64_t value = 0, snap[32] = {};
  int fiber = -1;
};
extern Thread* cur;
extern dim3 block_index, block_dim, grid_dim;
void wait(State state, const char* op, unsigned mask);
void launch(const unsigned* grid_and_block, void (*body)(void*), void* state, void* shared_first, void* shared_last);

template <class T> uint64_t bits(T value) {
  static_assert(sizeof value <= 8);
  uint64_t all = 0;
  std::memcpy(&all, &value, sizeof value);
  return all;
}
inline uint64_t* collect(const char* op, unsigned mask, uint64_t value) {
  cur->value = value;
  wait(WARP, op, mask);
  return cur->snap;
}
template <class T> T of_lane(const uint64_t* snap, int lane, T own, unsigned mask) {
  if (lane < 0 || lane > 31 || !(mask >> lane & 1)) return own;
  T value;
  std::memcpy(&value, &snap[lane], sizeof value);
  return value;
}
template <class T> constexpr char letter(T*) { return 'P'; }
constexpr char letter(int) { return 'i'; }
constexpr char letter(float) { return 'f'; }
constexpr char letter(double) { return 'd'; }
template <auto kernel, class... A, size_t... I> void apply(void (*)(A...), void** p, std::index_sequence<I...>) {
  kernel(*static_cast<A*>(p[I])...);
}
template <auto kernel, class... A> void call(void (*k)(A...), void** p) { apply<kernel>(k, p, std::index_sequence_for<A...>{}); }
template <class... A> const char* signature(void (*)(A...)) {
  static const char letters[] = {letter(A{})..., 0};
  return letters;
}
}  // namespace emu

extern "C" char __start_cudaemu_shared[] __attribute__((weak));
extern "C" char __stop_cudaemu_shared[] __attribute__((weak));
#define CUDAEMU_EXPORT(k)                                                                              \
  extern "C" const char* emu_signature_##k() { return emu::signature(k); }                             \
  extern "C" void emu_launch_##k(const unsigned* d, void** p) {                                        \
    emu::launch(d, [](void* s) { emu::call<k>(k, static_cast<void**>(s)); }, p, __start_cudaemu_shared, \
                __stop_cudaemu_shared);                                                                \
  }

#define threadIdx (emu::cur->tid)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_dim)
#define gridDim (emu::grid_dim)
constexpr int warpSize = 32;

inline void __syncthreads() { emu::wait(emu::BLOCK, "__syncthreads", 0); }
inline void __syncwarp(unsigned m = ~0u) { emu::wait(emu::WARP, "__syncwarp", m); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline int emu_lane() { return emu::cur->lin & 31; }
inline unsigned __ballot_sync(unsigned m, int p) {
  auto s = emu::collect("__ballot_sync", m, p != 0);
  unsigned all = 0;
  for (int i = 0; i < 32; ++i) all |= unsigned((m >> i & 1) && s[i]) << i;
  return all;
}
inline int __any_sync(unsigned m, int p) { return __ballot_sync(m, p) != 0; }
inline int __all_sync(unsigned m, int p) { return __ballot_sync(m, !p) == 0; }
template <class T> T __shfl_sync(unsigned m, T v, int src, int w = 32) {
  int base = emu_lane() & ~(w - 1);
  return emu::of_lane(emu::collect("__shfl_sync", m, emu::bits(v)), base + (src & (w - 1)), v, m);
}
template <class T> T __shfl_down_sync(unsigned m, T v, unsigned d, int w = 32) {
  int l = emu_lane();
  auto s = emu::collect("__shfl_down_sync", m, emu::bits(v));
  return int(l & (w - 1)) + int(d) < w ? emu::of_lane(s, l + d, v, m) : v;
}
template <class T> T __shfl_up_sync(unsigned m, T v, unsigned d, int w = 32) {
  int l = emu_lane();
  auto s = emu::collect("__shfl_up_sync", m, emu::bits(v));
  return int(l & (w - 1)) >= int(d) ? emu::of_lane(s, l - d, v, m) : v;
}
template <class T> T __shfl_xor_sync(unsigned m, T v, int x, int w = 32) {
  int l = emu_lane(), k = l ^ x;
  auto s = emu::collect("__shfl_xor_sync", m, emu::bits(v));
  return k / w == l / w ? emu::of_lane(s, k, v, m) : v;
}

#define EMU_ATOMIC(name, expression)             \
  template <class T, class U> T name(T* a, U u) { \
    T o = *a, v = static_cast<T>(u);              \
    *a = (expression);                            \
    return o;                                     \
  }
EMU_ATOMIC(atomicAdd, o + v)
EMU_ATOMIC(atomicMax, o < v ? v : o)
EMU_ATOMIC(atomicMin, v < o ? v : o)
EMU_ATOMIC(atomicOr, o | v)
EMU_ATOMIC(atomicExch, v)

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline int __float_as_int(float v) { int i; std::memcpy(&i, &v, 4); return i; }
inline unsigned __float_as_uint(float v) { return unsigned(__float_as_int(v)); }
inline float __int_as_float(int i) { float v; std::memcpy(&v, &i, 4); return v; }
inline float __uint_as_float(unsigned i) { return __int_as_float(int(i)); }
inline int __float2int_rn(float v) { return int(std::nearbyint(v)); }
inline int __float2int_rd(float v) { return int(std::floor(v)); }
inline int __double2int_rn(double v) { return int(std::nearbyint(v)); }
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return unsigned((uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned s) {
  uint64_t all = uint64_t(y) << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) r |= unsigned(all >> 8 * (s >> 4 * i & 7) & 255) << 8 * i;
  return r;
}
template <class T> T __ldg(const T* p) { return *p; }
template <class T> T __ldcg(const T* p) { return *p; }
template <class T, class U> auto min(T a, U b) { using C = std::common_type_t<T, U>; return C(b) < C(a) ? C(b) : C(a); }
template <class T, class U> auto max(T a, U b) { using C = std::common_type_t<T, U>; return C(a) < C(b) ? C(b) : C(a); }
