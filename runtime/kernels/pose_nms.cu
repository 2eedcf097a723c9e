// Non-maximum suppression of poses; select_best_class in proposals.py and pose_nms in pose_nms.py are the
// specification. Five launches: select, rank, near, resolve, gather.
#include "common.cuh"
#include "boxes.cuh"
#include "peak.cuh"
#include "suppress.cuh"

// One warp a proposal: its best class and the box of that pose. score is NaN where it is below the threshold.
extern "C" __global__ void __launch_bounds__(128)
    nms_select(const float* scores, const float* pose2d, float* score, int* label, float4* box, int* counts,
               int proposals, int classes, int joints, float threshold, float scale_x, float scale_y) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < proposals; i += warps) {
        const Peak best = peak(scores + size_t(i) * (classes + 1) + 1, classes, lane);
        const bool chosen = best.value >= threshold;
        const float* pose = pose2d + (size_t(i) * classes + best.place) * joints * 2;
        const float4 tight = extent(pose, chosen ? joints : 0, make_float2(scale_x, scale_y), lane);
        if (lane) continue;
        score[i] = chosen ? best.value : NOT_SEEN;
        label[i] = best.place;
        box[i] = tight;
        if (chosen) atomicAdd(counts, 1);
    }
}

// One warp a proposal: its place among the chosen ones, best first, and its box with a margin on every side.
extern "C" __global__ void __launch_bounds__(128)
    nms_rank(const float* score, const float4* box, int* order, float4* grown, int proposals, float margin) {
    const int lane = threadIdx.x % 32, warps = gridDim.x * (blockDim.x / 32);
    for (int i = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; i < proposals; i += warps) {
        if (score[i] != score[i]) continue;
        const int place = rank(score, proposals, i, lane);
        if (lane) continue;
        const float4 b = box[i];
        const float x = margin * (b.z - b.x), y = margin * (b.w - b.y);
        order[place] = i;
        grown[place] = make_float4(b.x - x, b.y - y, b.z + x, b.w + y);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    nms_near(const float4* grown, const int* counts, u64* mask, int stride, float threshold) {
    auto near = [=](int a, int b) { return iou(grown[a], grown[b], 0) > threshold; };
    mark_near(near, counts[0], mask, stride);
}

extern "C" __global__ void __launch_bounds__(1024, 1) nms_resolve(const u64* mask, int* kept, int* counts, int stride) {
    __shared__ u64 gone[WORDS];
    const int count = counts[0];
    auto end = [=](int) { return count; };
    const int found = resolve(0, count, mask, stride, end, gone, [=](int item, int place) { kept[place] = item; });
    if (!threadIdx.x) counts[1] = found;
}

// One block a person: its row of the answer. The first row holds the number of people.
extern "C" __global__ void __launch_bounds__(128)
    nms_gather(const int* counts, const int* kept, const int* order, const float* score, const int* label,
               const float4* box, const float* pose2d, const float* pose3d, float* rows, int classes, int joints,
               float scale_x, float scale_y) {
    const int width = 6 + 5 * joints;
    if (!blockIdx.x && !threadIdx.x) rows[0] = __int_as_float(counts[1]);
    for (int person = blockIdx.x; person < counts[1]; person += gridDim.x) {
        const int i = order[kept[person]];
        const size_t pose = size_t(i) * classes + label[i];
        float* row = rows + size_t(person + 1) * width;
        if (!threadIdx.x) {
            row[0] = score[i];
            row[1] = __int_as_float(label[i]);
            row[2] = box[i].x, row[3] = box[i].y, row[4] = box[i].z, row[5] = box[i].w;
        }
        for (int k = threadIdx.x; k < 2 * joints; k += blockDim.x)
            row[6 + k] = pose2d[pose * 2 * joints + k] * (k % 2 ? scale_y : scale_x);
        for (int k = threadIdx.x; k < 3 * joints; k += blockDim.x)
            row[6 + 2 * joints + k] = pose3d[pose * 3 * joints + k];
    }
}
