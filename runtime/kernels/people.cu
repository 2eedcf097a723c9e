// The last steps of a top-down student: keypoints into the picture, people's scores, and who is kept as rows to be
// copied. `to_source` in crop.py and the score in pipelines/top_down.py are the specification.
#include "common.cuh"
#include "suppress.cuh"

// One warp a person: keypoints from crop to source pixels, and the person's score: the box's times the mean of the
// keypoints' above `least`. Scores and depths go along.
extern "C" __global__ void __launch_bounds__(128)
    people_place(const float2* keypoints, const float* scores, const double* affines, const float* found,
                 const float* depths, float2* placed, float* placed_scores, float* person, float* placed_depths,
                 int people, int joints, int with_depths, float least) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < people; i += warps) {
        const double* affine = affines + 6 * i;
        float total = 0;
        int above = 0;
        for (int j = lane; j < joints; j += 32) {
            const size_t k = size_t(i) * joints + j;
            const float2 p = keypoints[k];
            placed[k] = make_float2((p.x - affine[2]) / affine[0], (p.y - affine[5]) / affine[4]);
            const float score = placed_scores[k] = scores[k];
            if (with_depths) placed_depths[k] = depths[k];
            if (score > least) total += score, ++above;
        }
        for (int step = 16; step; step /= 2) total += __shfl_xor_sync(FULL, total, step);
        above = sum(above);
        if (!lane) person[i] = found[i] * float(double(total) / max(above, 1));
    }
}

// One block a kept person: its number (an int), score, keypoints, their scores and, where there are any, depths. The
// first row begins with how many people are kept.
extern "C" __global__ void __launch_bounds__(128)
    people_gather(const int* kept, const float* person, const float* placed, const float* scores, const float* depths,
                  float* rows, int people, int joints, int with_depths) {
    const int width = 2 + (3 + with_depths) * joints, count = kept[people];
    if (!blockIdx.x && !threadIdx.x) rows[0] = __int_as_float(count);
    for (int place = blockIdx.x; place < count; place += gridDim.x) {
        const int i = kept[place];
        float* row = rows + size_t(place + 1) * width;
        if (!threadIdx.x) row[0] = __int_as_float(i), row[1] = person[i];
        for (int k = threadIdx.x; k < 2 * joints; k += blockDim.x) row[2 + k] = placed[size_t(i) * 2 * joints + k];
        for (int k = threadIdx.x; k < joints; k += blockDim.x) {
            row[2 + 2 * joints + k] = scores[size_t(i) * joints + k];
            if (with_depths) row[2 + 3 * joints + k] = depths[size_t(i) * joints + k];
        }
    }
}
