// SimCC: the best bin of each axis of every keypoint; simcc.py is the specification.
#include "common.cuh"
#include "peak.cuh"

// One warp a keypoint: x, y and score of each.
template <class T>
__device__ void decode(const T* simcc_x, const T* simcc_y, float* keypoints, float* scores, int count, int bins_x,
                       int bins_y, float split) {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32 * gridDim.x;
    for (int k = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; k < count; k += warps) {
        const Peak x = peak(simcc_x + size_t(k) * bins_x, bins_x, lane);
        const Peak y = peak(simcc_y + size_t(k) * bins_y, bins_y, lane);
        if (lane) continue;
        const float score = lesser(x.value, y.value);
        const bool seen = score > 0;
        keypoints[2 * k] = seen ? x.place / split : NOT_SEEN;
        keypoints[2 * k + 1] = seen ? y.place / split : NOT_SEEN;
        scores[k] = seen ? score : 0;
    }
}

// One warp a keypoint: its depth in metres.
template <class T>
__device__ void depth(const T* simcc_z, float* metres, int count, int bins, float step, float range) {
    const int lane = threadIdx.x % 32, warps = blockDim.x / 32 * gridDim.x;
    for (int k = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; k < count; k += warps) {
        const Peak z = peak(simcc_z + size_t(k) * bins, bins, lane);
        if (!lane) metres[k] = float((z.place * double(step) - 1) * range);
    }
}

extern "C" __global__ void simcc_float(const float* simcc_x, const float* simcc_y, float* keypoints, float* scores,
                                       int count, int bins_x, int bins_y, float split) {
    decode(simcc_x, simcc_y, keypoints, scores, count, bins_x, bins_y, split);
}

extern "C" __global__ void simcc_half(const half16* simcc_x, const half16* simcc_y, float* keypoints, float* scores,
                                      int count, int bins_x, int bins_y, float split) {
    decode(simcc_x, simcc_y, keypoints, scores, count, bins_x, bins_y, split);
}

extern "C" __global__ void depth_float(const float* simcc_z, float* metres, int count, int bins, float step,
                                       float range) {
    depth(simcc_z, metres, count, bins, step, range);
}

extern "C" __global__ void depth_half(const half16* simcc_z, float* metres, int count, int bins, float step,
                                      float range) {
    depth(simcc_z, metres, count, bins, step, range);
}
