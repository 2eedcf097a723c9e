// Suppression of poses that show the same person, by object keypoint similarity; oks.py is the specification.
// Three launches: rank, near, resolve.
#include "common.cuh"
#include "suppress.cuh"

// One warp a person: its place, best first.
extern "C" __global__ void __launch_bounds__(128) oks_rank(const float* score, int* order, int people) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < people; i += warps) {
        const int place = rank(score, people, i, lane);
        if (!lane) order[place] = i;
    }
}

struct Poses {
    const float2* keypoints;
    const float* scores;  // of keypoints
    const float* areas;
    const float* spread;  // 2 (2 sigma)^2 of each joint
    int joints;

    // Mean of exp(-d^2 / (area spread)) over the joints that both have seen, for a whole warp; NaN adds nothing.
    __device__ float alike(int a, int b, int lane) const {
        const float area = (areas[a] + areas[b]) / 2 + 2.220446e-16f;
        const size_t first_a = size_t(a) * joints, first_b = size_t(b) * joints;
        float total = 0;
        int seen = 0;
        for (int j = lane; j < joints; j += 32) {
            if (!(scores[first_a + j] > 0 && scores[first_b + j] > 0)) continue;
            const float2 p = keypoints[first_a + j], q = keypoints[first_b + j];
            const float x = p.x - q.x, y = p.y - q.y, likeness = expf(-(x * x + y * y) / (area * spread[j]));
            total += likeness == likeness ? likeness : 0;
            ++seen;
        }
        for (int step = 16; step; step /= 2) total += __shfl_xor_sync(FULL, total, step);
        return total / max(sum(seen), 1);
    }
};

// One warp a person and 64 others after it.
extern "C" __global__ void __launch_bounds__(128)
    oks_near(const float2* keypoints, const float* scores, const float* areas, const float* spread, const int* order,
             u64* mask, int people, int joints, int stride, float threshold) {
    const Poses poses = {keypoints, scores, areas, spread, joints};
    const int lane = threadIdx.x % 32, row = blockIdx.y * (blockDim.x / 32) + threadIdx.x / 32;
    const int first = (row / 64 + blockIdx.x) * 64;
    if (row >= people || first >= people) return;
    u64 bits = 0;
    for (int c = max(first, row + 1); c < min(first + 64, people); ++c)
        bits |= u64(poses.alike(order[row], order[c], lane) > threshold) << (c - first);
    if (!lane) mask[size_t(row) * stride + blockIdx.x] = bits;
}

// The kept people as their numbers, best first; kept[people] is how many.
extern "C" __global__ void __launch_bounds__(1024, 1)
    oks_resolve(const u64* mask, const int* order, int* kept, int people, int stride) {
    __shared__ u64 gone[WORDS];
    auto end = [=](int) { return people; };
    auto keep = [=](int row, int place) { kept[place] = order[row]; };
    const int found = resolve(0, people, mask, stride, end, gone, keep);
    if (!threadIdx.x) kept[people] = found;
}
