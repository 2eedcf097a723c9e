// Heatmaps: the peak of every keypoint's map, refined; heatmap.py is the specification, its "plain" and "UDP" ways.
#include "common.cuh"
#include "peak.cuh"

#define BLUR 11  // pixels, of a Gaussian with a deviation of 2
#define THREADS 128
#define WARPS (THREADS / 32)

template <class T>
struct Map {
    const T* values;
    const float* gauss;  // BLUR weights
    int height, width;

    __device__ __forceinline__ float at(int y, int x) const { return load(values + y * width + x); }

    // The smoothed map, with zeros around it.
    __device__ float smooth(int y, int x) const {
        float total = 0;
        for (int dy = -BLUR / 2; dy <= BLUR / 2; ++dy) {
            if (y + dy < 0 || y + dy >= height) continue;
            float row = 0;
            for (int dx = -BLUR / 2; dx <= BLUR / 2; ++dx)
                if (x + dx >= 0 && x + dx < width) row += gauss[dx + BLUR / 2] * at(y + dy, x + dx);
            total += gauss[dy + BLUR / 2] * row;
        }
        return total;
    }
};

// The peak of a map, for every thread of the block.
template <class T>
__device__ Peak peak_of_block(const T* values, int count, Peak* peaks) {
    Peak best = {-INF, 0x7fffffff};
    for (int i = threadIdx.x; i < count; i += THREADS) {
        const Peak here = {load(values + i), i};
        if (above(here, best)) best = here;
    }
    best = peak_of_lanes(best);
    if (threadIdx.x % 32 == 0) peaks[threadIdx.x / 32] = best;
    __syncthreads();
    for (int w = 0; w < WARPS; ++w)
        if (above(peaks[w], best)) best = peaks[w];
    return best;
}

// A quarter of a pixel towards the higher neighbour, where both are in the map.
__device__ __forceinline__ float quarter(bool inside, float before, float after) {
    return inside ? 0.25f * ((after > before) - (after < before)) : 0;
}

// To the top of the parabola through the logarithms of nine smoothed pixels.
__device__ float2 newton(const float* log) {
    const float middle = log[4], left = log[3], right = log[5], above = log[1], below = log[7];
    const float dx = (right - left) / 2, dy = (below - above) / 2, eps = 1.1920929e-7f;
    const float dxx = right - 2 * middle + left + eps, dyy = below - 2 * middle + above + eps;
    const float dxy = (log[8] - right - below + 2 * middle - left - above + log[0]) / 2;
    const float determinant = dxx * dyy - dxy * dxy;
    if (determinant == 0) return make_float2(0, 0);
    return make_float2((dxy * dy - dyy * dx) / determinant, (dxy * dx - dxx * dy) / determinant);
}

// One block a map.
template <class T>
__device__ void decode(const T* maps, const float* gauss, float* keypoints, float* scores, int height, int width,
                       float scale_x, float scale_y, bool udp) {
    __shared__ Peak peaks[WARPS];
    __shared__ float tops[WARPS], log[9];
    const Map<T> map = {maps + size_t(blockIdx.x) * height * width, gauss, height, width};
    const Peak top = peak_of_block(map.values, height * width, peaks);
    const bool seen = top.value > 0 && top.value < INFINITY;
    const int x = top.place % width, y = top.place / width;
    float2 step = make_float2(0, 0);
    if (udp && seen) {
        float most = -INF;
        for (int i = threadIdx.x; i < height * width; i += THREADS) most = fmaxf(most, map.smooth(i / width, i % width));
        for (int lane = 16; lane; lane /= 2) most = fmaxf(most, __shfl_xor_sync(FULL, most, lane));
        if (threadIdx.x % 32 == 0) tops[threadIdx.x / 32] = most;
        __syncthreads();
        if (threadIdx.x < 9) {
            for (int w = 0; w < WARPS; ++w) most = fmaxf(most, tops[w]);
            const int dx = threadIdx.x % 3 - 1, dy = int(threadIdx.x) / 3 - 1;
            const float smooth = map.smooth(min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1));
            log[threadIdx.x] = logf(fminf(fmaxf(smooth * (top.value / fmaxf(most, 1.17549435e-38f)), 1e-3f), 50));
        }
        __syncthreads();
        step = newton(log);
    } else if (seen) {
        const bool in_x = x > 0 && x < width - 1, in_y = y > 0 && y < height - 1;
        step.x = quarter(in_x, in_x ? map.at(y, x - 1) : 0, in_x ? map.at(y, x + 1) : 0);
        step.y = quarter(in_y, in_y ? map.at(y - 1, x) : 0, in_y ? map.at(y + 1, x) : 0);
    }
    if (threadIdx.x) return;
    keypoints[2 * blockIdx.x] = seen ? (x + step.x) * scale_x : NOT_SEEN;
    keypoints[2 * blockIdx.x + 1] = seen ? (y + step.y) * scale_y : NOT_SEEN;
    scores[blockIdx.x] = seen ? top.value : 0;
}

#define KERNEL(name, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                        \
        name(const T* maps, const float* gauss, float* keypoints, float* scores, int height, int width,         \
             float scale_x, float scale_y, int udp) {                                                            \
        decode(maps, gauss, keypoints, scores, height, width, scale_x, scale_y, udp);                            \
    }

KERNEL(heatmap_float, float)
KERNEL(heatmap_half, half16)
