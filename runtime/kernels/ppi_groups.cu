// Pose-proposal integration, first half: from the network's answer to candidates in groups; ppi.py is the
// specification, with select_candidates of proposals.py. Candidates are (proposal, class) pairs; items are what is
// put in groups: runs of candidates with the same box, or candidates.
//
// Everything stays on the GPU, counts too; grids are as large as a call may need. ppi_modes.cu goes on.
#include "common.cuh"
#include "boxes.cuh"
#include "suppress.cuh"
#include "ppi.cuh"

// --- candidates -----------------------------------------------------------------------------------------------

// One block: every (proposal, class) whose score reaches the threshold, proposal after proposal.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_select(const float* scores, int* pose, float* score, int* counts, int proposals, int classes,
               float threshold) {
    int found = 0, here;
    for (int first = 0; first < proposals; first += blockDim.x) {
        const int i = first + threadIdx.x;
        const float* mine = scores + size_t(i) * (classes + 1) + 1;
        int count = 0;
        if (i < proposals)
            for (int k = 0; k < classes; ++k) count += __ldg(mine + k) >= threshold;
        int at = found + sum_before(count, &here);
        for (int k = 0; count && k < classes; ++k)
            if (__ldg(mine + k) >= threshold) {
                pose[at] = i * classes + k;
                score[at++] = __ldg(mine + k);
            }
        found += here;
    }
    if (!threadIdx.x) counts[CANDIDATES] = found;
}

// One warp a candidate: its proposal's box, or its pose's within the picture (`last_x` and `last_y` are its last
// pixels, below 0 where it is not known).
extern "C" __global__ void __launch_bounds__(128)
    ppi_boxes(const float4* boxes, const float* pose2d, const int* pose, const int* counts, float4* box, int classes,
              int joints, int by_pose, float scale_x, float scale_y, float last_x, float last_y) {
    const int lane = threadIdx.x % 32;
    for (int m = first_warp(); m < counts[CANDIDATES]; m += all_warps()) {
        float4 b;
        if (by_pose) {
            b = extent(pose2d + size_t(pose[m]) * joints * 2, joints, make_float2(scale_x, scale_y), lane);
            if (last_x >= 0)
                b = make_float4(lesser(greater(b.x, 0), last_x), lesser(greater(b.y, 0), last_y),
                                lesser(greater(b.z, 0), last_x), lesser(greater(b.w, 0), last_y));
        } else {
            b = boxes[pose[m] / classes];
            b = make_float4(b.x * scale_x, b.y * scale_y, b.z * scale_x, b.w * scale_y);
        }
        if (!lane) box[m] = b;
    }
}

// One block: where items begin among the candidates, and their best scores. With `merge`, candidates that follow
// one another and have the same box are one item.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_items(const float4* box, const float* score, int* item, int* item_first, float* item_score, int* counts,
              int merge) {
    const int candidates = counts[CANDIDATES];
    int found = 0, here;
    for (int first = 0; first < candidates; first += blockDim.x) {
        const int m = first + threadIdx.x;
        bool begins = m < candidates;
        if (begins && merge && m) {
            const float4 a = box[m], b = box[m - 1];
            begins = a.x != b.x || a.y != b.y || a.z != b.z || a.w != b.w;
        }
        const int before = found + sum_before(begins, &here);
        if (m < candidates) item[m] = before + begins - 1;
        if (begins) item_first[before] = m;
        found += here;
    }
    if (!threadIdx.x) {
        item_first[found] = candidates;
        counts[ITEMS] = found;
    }
    __syncthreads();
    for (int t = threadIdx.x; t < found; t += blockDim.x) {
        float best = score[item_first[t]];
        for (int m = item_first[t] + 1; m < item_first[t + 1]; ++m) best = fmaxf(best, score[m]);
        item_score[t] = best;
    }
}

// --- groups: items that overlap the best of them ----------------------------------------------------------------

// One warp an item: its place, best first; from then on items are named by their places.
extern "C" __global__ void __launch_bounds__(128)
    ppi_rank_items(const float* item_score, const int* item_first, const float4* box, int* order, float4* item_box,
                   const int* counts) {
    const int lane = threadIdx.x % 32;
    for (int t = first_warp(); t < counts[ITEMS]; t += all_warps()) {
        const int place = rank(item_score, counts[ITEMS], t, lane);
        if (lane) continue;
        order[place] = t;
        item_box[place] = box[item_first[t]];
    }
}

// Whether an item shows the same person as a better one: their boxes overlap, or their joints (a bit each in
// `joints`; 0: all of them) are near, as a share of twice the longer side of the better one's box; with `swap` also
// if left and right are swapped.
struct Overlap {
    const float4* item_box;
    const int *order, *item_first, *pose;
    const float* pose2d;
    int by_joints, joints, joint_set, swap;
    float threshold, scale_x, scale_y;

    __device__ bool operator()(int a, int b) const {
        if (!by_joints) return iou(item_box[a], item_box[b], 1) > threshold;
        const float4 box = item_box[a];
        const float reach = 2 * threshold * greater(box.z - box.x + 1, box.w - box.y + 1);
        float apart = joints_apart(a, b, 0);
        if (swap) apart = lesser(apart, joints_apart(a, b, 1));
        return apart < reach;
    }

    __device__ float joints_apart(int a, int b, int flip) const {
        const float share = 1.0f / (joint_set ? __popc(joint_set) : joints);
        const float *p = at(a), *q = at(b);
        float total = 0;
        for (int j = 0; j < joints; ++j) {
            if (joint_set && !(joint_set >> j & 1)) continue;
            const int other = flip && j != 12 ? j ^ 1 : j;
            const float x = p[2 * j] * scale_x - q[2 * other] * scale_x;
            const float y = p[2 * j + 1] * scale_y - q[2 * other + 1] * scale_y;
            total += sqrtf(x * x + y * y) * share;
        }
        return total;
    }

    __device__ const float* at(int place) const { return pose2d + size_t(pose[item_first[order[place]]]) * joints * 2; }
};

#define OVERLAP_ARGUMENTS                                                                                          \
    const float4 *item_box, const int *order, const int *item_first, const int *pose, const float *pose2d,         \
        int by_joints, int joints, int joint_set, int swap, float threshold, float scale_x, float scale_y
#define OVERLAP {item_box, order, item_first, pose, pose2d, by_joints, joints, joint_set, swap, threshold, scale_x, scale_y}

extern "C" __global__ void __launch_bounds__(256)
    ppi_near_items(OVERLAP_ARGUMENTS, u64* mask, int room, const int* counts) {
    const Overlap near = OVERLAP;
    const int items = counts[ITEMS], stride = (items + 63) / 64;
    if (has_room(items, stride, room)) mark_near(near, items, mask, stride);
}

extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_resolve_items(OVERLAP_ARGUMENTS, const u64* mask, int room, int* leaders, int* counts) {
    __shared__ u64 gone[WORDS];
    const Overlap near = OVERLAP;
    const int items = counts[ITEMS], stride = (items + 63) / 64;
    auto end = [=](int) { return items; };
    auto keep = [=](int place, int g) { leaders[g] = place; };
    const int found = has_room(items, stride, room) ? resolve(0, items, mask, stride, end, gone, keep)
                                                    : resolve_unmarked(0, items, end, near, gone, keep);
    if (!threadIdx.x) counts[GROUPS] = found;
}

// One warp an item: its group is that of the first leader it overlaps; a lane looks at every 32nd leader.
extern "C" __global__ void __launch_bounds__(128)
    ppi_assign(OVERLAP_ARGUMENTS, const u64* mask, int room, const int* leaders, int* group_of_item, int* group_size,
               const int* counts) {
    const Overlap near = OVERLAP;
    const int items = counts[ITEMS], stride = (items + 63) / 64, lane = threadIdx.x % 32;
    const bool marked = has_room(items, stride, room);
    for (int place = first_warp(); place < items; place += all_warps()) {
        u32 hits = 0;
        int first = 0;
        for (; !hits; first += 32) {
            const int g = first + lane, leader = g < counts[GROUPS] ? leaders[g] : items;
            bool hit = leader == place;
            if (leader < place)
                hit = marked ? mask[size_t(leader) * stride + place / 64 - leader / 64] >> (place % 64) & 1
                             : near(leader, place);
            hits = __ballot_sync(FULL, hit);
        }
        if (lane) continue;
        const int g = first - 32 + __ffs(hits) - 1, t = order[place];
        group_of_item[t] = g;
        atomicAdd(group_size + g, item_first[t + 1] - item_first[t]);
    }
}

// One block: where each group's candidates begin.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_group_starts(const int* group_size, int* group_first, int* cursor, const int* counts) {
    int found = 0, here;
    for (int first = 0; first < counts[GROUPS]; first += blockDim.x) {
        const int g = first + threadIdx.x, size = g < counts[GROUPS] ? group_size[g] : 0;
        const int before = found + sum_before(size, &here);
        if (g < counts[GROUPS]) group_first[g] = cursor[g] = before;
        found += here;
    }
    if (!threadIdx.x) group_first[counts[GROUPS]] = found;
}

// One thread a candidate: somewhere among its group's.
extern "C" __global__ void __launch_bounds__(128)
    ppi_scatter(const int* item, const int* group_of_item, int* cursor, int* bucket, int* bucket_group,
                const int* counts) {
    for (int m = first_thread(); m < counts[CANDIDATES]; m += all_threads()) {
        const int g = group_of_item[item[m]], at = atomicAdd(cursor + g, 1);
        bucket[at] = m;
        bucket_group[at] = g;
    }
}

// One warp a candidate: its place in its group, best first; from then on candidates are named by their places.
extern "C" __global__ void __launch_bounds__(128)
    ppi_sort(const int* bucket, const int* bucket_group, const int* group_first, const int* pose, const float* score,
             int* sorted_pose, float* sorted_score, int* sorted_group, int* starter_count, const int* counts,
             float min_mode_score) {
    const int lane = threadIdx.x % 32;
    for (int at = first_warp(); at < counts[CANDIDATES]; at += all_warps()) {
        const int m = bucket[at], g = bucket_group[at], first = group_first[g];
        const float mine = score[m];
        int ahead = 0;
        for (int i = first + lane; i < group_first[g + 1]; i += 32) {
            const int other = __ldg(bucket + i);
            ahead += before(__ldg(score + other), other, mine, m);
        }
        ahead = sum(ahead);
        if (lane) continue;
        sorted_pose[first + ahead] = pose[m];
        sorted_score[first + ahead] = mine;
        sorted_group[first + ahead] = g;
        if (!ahead || mine >= min_mode_score) atomicAdd(starter_count + g, 1);
    }
}
