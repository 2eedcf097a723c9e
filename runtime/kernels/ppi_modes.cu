// Pose-proposal integration, second half: from candidates in groups to one pose a person; modes.py and ppi.py are
// the specification. Starters may begin a mode, heads do.
#include "common.cuh"
#include "boxes.cuh"
#include "suppress.cuh"
#include "joints.cuh"
#include "ppi.cuh"

// --- modes ------------------------------------------------------------------------------------------------------

// One block: where each group's starters begin among all of them.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_starter_starts(const int* starter_count, int* starter_first, int* counts) {
    __shared__ int most;
    if (!threadIdx.x) most = 0;
    int found = 0, here;
    for (int first = 0; first < counts[GROUPS]; first += blockDim.x) {
        const int g = first + threadIdx.x, size = g < counts[GROUPS] ? starter_count[g] : 0;
        const int before = found + sum_before(size, &here);
        if (g < counts[GROUPS]) starter_first[g] = before;
        atomicMax(&most, size);
        found += here;
    }
    __syncthreads();
    if (threadIdx.x) return;
    starter_first[counts[GROUPS]] = found;
    counts[STARTERS] = found;
    counts[STARTER_STRIDE] = (most + 62) / 64 + 1;  // a group may begin anywhere in a word
}

// One thread a candidate: the starters, which are the first of their group; its best is one whatever its score.
extern "C" __global__ void __launch_bounds__(128)
    ppi_starters(const int* starter_count, const int* starter_first, const int* group_first, const int* sorted_group,
                 int* starter, const int* counts) {
    for (int at = first_thread(); at < counts[CANDIDATES]; at += all_threads()) {
        const int g = sorted_group[at], place = at - group_first[g];
        if (place < starter_count[g]) starter[starter_first[g] + place] = at;
    }
}

// Where the starters of the group of one of them end.
struct StarterEnd {
    const int *starter, *sorted_group, *starter_first;
    __device__ __forceinline__ int operator()(int s) const { return starter_first[sorted_group[starter[s]] + 1]; }
};

extern "C" __global__ void __launch_bounds__(256, 2)
    ppi_near_starters(const float* pose3d, const int* sorted_pose, const int* sorted_group, const int* starter,
                      const int* starter_first, u64* mask, int room, const int* counts, int joints, float th_pose3d) {
    __shared__ Tile tile;
    const StarterEnd end = {starter, sorted_group, starter_first};
    const int starters = counts[STARTERS], stride = counts[STARTER_STRIDE];
    if (!has_room(starters, stride, room)) return;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int first = blockIdx.y * ROWS; first < starters; first += gridDim.y * ROWS) {
        const int last = end(min(first + ROWS, starters) - 1);
        for (int word = first / 64 + blockIdx.x; word * 64 < last; word += gridDim.x) {
            for (int i = threadIdx.x; i < ROWS + COLUMNS; i += blockDim.x) {
                const int s = i < ROWS ? first + i : word * 64 + i - ROWS;
                tile.pose[i] = s < starters ? sorted_pose[starter[s]] : -1;
            }
            const int mine = first + 4 * warp;
            const bool active = mine < starters && end(min(mine + 3, starters - 1)) > word * 64;
            float apart[4][2];
            mean_distances(tile, pose3d, joints, active, apart);
            for (int i = 0; active && i < 4; ++i) {
                const int row = mine + i, low = word * 64 + lane, high = low + 32;
                if (row >= starters || end(row) <= word * 64) continue;
                const u64 bits =
                    __ballot_sync(FULL, low > row && low < end(row) && apart[i][0] < th_pose3d) |
                    u64(__ballot_sync(FULL, high > row && high < end(row) && apart[i][1] < th_pose3d)) << 32;
                if (!lane) mask[size_t(row) * stride + word - row / 64] = bits;
            }
        }
    }
}

// One block a group: which starters begin a mode, a bit each.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_resolve_starters(const float* pose3d, const int* sorted_pose, const int* sorted_group, const int* starter,
                         const int* starter_first, const u64* mask, int room, u64* head_bits, const int* counts,
                         int joints, float th_pose3d) {
    __shared__ u64 gone[WORDS];
    const StarterEnd end = {starter, sorted_group, starter_first};
    const int stride = counts[STARTER_STRIDE];
    const bool marked = has_room(counts[STARTERS], stride, room);
    auto near = [=](int a, int b) {
        const size_t size = 3 * joints;
        return mean_distance(pose3d + sorted_pose[starter[a]] * size, pose3d + sorted_pose[starter[b]] * size,
                             joints) < th_pose3d;
    };
    auto keep = [=](int s, int) { atomicOr(head_bits + s / 64, 1ull << (s % 64)); };
    for (int g = blockIdx.x; g < counts[GROUPS]; g += gridDim.x) {
        const int begin = starter_first[g], last = starter_first[g + 1];
        if (marked)
            resolve(begin, last, mask, stride, end, gone, keep);
        else
            resolve_unmarked(begin, last, end, near, gone, keep);
    }
}

// One block: the heads, group after group, and the first one of each group.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_heads(const u64* head_bits, const int* starter, const int* sorted_group, const int* group_first, int* head,
              int* head_first, double* mode_score, int* counts) {
    const int starters = counts[STARTERS];
    int found = 0, here;
    for (int first = 0; first * 64 < starters; first += blockDim.x) {
        const int word = first + threadIdx.x;
        u64 bits = word * 64 < starters ? head_bits[word] : 0;
        int place = found + sum_before(__popcll(bits), &here);
        for (; bits; bits &= bits - 1) head[place++] = word * 64 + __ffsll(bits) - 1;
        found += here;
    }
    __syncthreads();
    for (int h = threadIdx.x; h < found; h += blockDim.x) {
        const int at = starter[head[h]], g = sorted_group[at];
        head[h] = at;
        mode_score[h] = 0;
        if (at == group_first[g]) head_first[g] = h;
    }
    if (threadIdx.x) return;
    head_first[counts[GROUPS]] = found;
    counts[HEADS] = found;
}

// What the scores of all members of each mode sum up to, in double, which holds such sums exactly.
extern "C" __global__ void __launch_bounds__(256, 2)
    ppi_mode_scores(const float* pose3d, const int* sorted_pose, const float* sorted_score, const int* sorted_group,
                    const int* group_first, const int* head, double* mode_score, const int* counts, int joints,
                    float th_pose3d) {
    __shared__ Tile tile;
    const int heads = counts[HEADS], lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int first = blockIdx.y * ROWS; first < heads; first += gridDim.y * ROWS) {
        const int begin = group_first[sorted_group[head[first]]];
        const int last = group_first[sorted_group[head[min(first + ROWS, heads) - 1]] + 1];
        for (int column = begin + blockIdx.x * COLUMNS; column < last; column += gridDim.x * COLUMNS) {
            for (int i = threadIdx.x; i < ROWS + COLUMNS; i += blockDim.x) {
                const int at = i < ROWS ? (first + i < heads ? head[first + i] : -1)
                                        : (column + i - ROWS < last ? column + i - ROWS : -1);
                tile.pose[i] = at < 0 ? -1 : sorted_pose[at];
            }
            const int mine = first + 4 * warp;
            const bool active = mine < heads && group_first[sorted_group[head[mine]]] < column + COLUMNS &&
                                group_first[sorted_group[head[min(mine + 3, heads - 1)]] + 1] > column;
            float apart[4][2];
            mean_distances(tile, pose3d, joints, active, apart);
            for (int i = 0; active && i < 4 && mine + i < heads; ++i) {
                const int at = head[mine + i], g = sorted_group[at];
                double total = 0;
                for (int half = 0; half < 2; ++half) {
                    const int other = column + lane + 32 * half;
                    if (other < group_first[g] || other >= group_first[g + 1]) continue;
                    if (apart[i][half] < th_pose3d || other == at) total += sorted_score[other];
                }
                for (int step = 16; step; step /= 2) total += __shfl_xor_sync(FULL, total, step);
                if (!lane && total != 0) atomicAdd(mode_score + mine + i, total);
            }
        }
    }
}

// --- people -----------------------------------------------------------------------------------------------------

// One block: the best mode of each group, of equal ones the first, and which of them are people, best first. The
// first row of the answer holds their number.
extern "C" __global__ void __launch_bounds__(1024, 1)
    ppi_people(const int* head, const int* head_first, const double* mode_score, int* best, double* group_score,
               int* person, float* rows, const int* counts, double th_persondetect) {
    __shared__ int found;
    const int groups = counts[GROUPS];
    if (!threadIdx.x) found = 0;
    for (int g = threadIdx.x; g < groups; g += blockDim.x) {
        int mode = head_first[g];
        for (int h = mode + 1; h < head_first[g + 1]; ++h)
            if (mode_score[h] > mode_score[mode]) mode = h;
        best[g] = head[mode];
        group_score[g] = mode_score[mode];
    }
    __syncthreads();
    for (int g = threadIdx.x; g < groups; g += blockDim.x) {
        const double mine = group_score[g];
        if (!(mine > th_persondetect)) continue;
        int place = 0;
        for (int i = 0; i < groups; ++i) place += group_score[i] > mine || (group_score[i] == mine && i < g);
        person[place] = g;
        atomicAdd(&found, 1);
    }
    __syncthreads();
    if (!threadIdx.x) rows[0] = __int_as_float(found);
}

#define MEAN_THREADS 256
#define MEAN_WARPS (MEAN_THREADS / 32)
#define MOST_JOINTS 84

// One block a person: the mean of its mode's members, weighted by their scores. Classes from `full_bodies` on know
// little of ankles and knees (the first four joints), whose weights are a tenth.
extern "C" __global__ void __launch_bounds__(MEAN_THREADS, 1)
    ppi_means(const float* pose2d, const float* pose3d, const int* sorted_pose, const float* sorted_score,
              const int* group_first, const int* best, const double* group_score, const int* person, int* member,
              float* rows, int classes, int joints, int full_bodies, float th_pose3d, float scale_x, float scale_y) {
    __shared__ float head_pose[3 * MOST_JOINTS], sums[MEAN_WARPS][5 * MOST_JOINTS], weights[MEAN_WARPS][2];
    __shared__ int warp_members[MEAN_WARPS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, values = 5 * joints, width = 6 + values;
    const int people = __float_as_int(rows[0]);
    for (int p = blockIdx.x; p < people; p += gridDim.x) {
        const int g = person[p], begin = group_first[g], end = group_first[g + 1], head = best[g];
        for (int k = threadIdx.x; k < 3 * joints; k += blockDim.x)
            head_pose[k] = pose3d[size_t(sorted_pose[head]) * 3 * joints + k];
        __syncthreads();

        int members = 0;  // in order, at the group's place in `member`
        for (int first = begin; first < end; first += blockDim.x) {
            const int at = first + threadIdx.x;
            const bool in = at < end && (at == head || mean_distance(head_pose, pose3d + size_t(sorted_pose[at]) * 3 * joints, joints) < th_pose3d);
            const u32 votes = __ballot_sync(FULL, in);
            if (!lane) warp_members[warp] = __popc(votes);
            __syncthreads();
            int place = begin + members + __popc(votes & ((1u << lane) - 1));
            for (int w = 0; w < MEAN_WARPS; ++w) {
                if (w < warp) place += warp_members[w];
                members += warp_members[w];
            }
            if (in) member[place] = at;
            __syncthreads();
        }

        for (int k = lane; k < values; k += 32) {  // a warp takes every eighth member, a lane a few numbers of each
            const bool flat = k < 2 * joints;
            const bool leg = (flat ? k / 2 : (k - 2 * joints) / 3) < 4;
            float total = 0;
            for (int i = warp; i < members; i += MEAN_WARPS) {
                const int at = member[begin + i], pose = sorted_pose[at];
                const float weight = sorted_score[at] * (leg && pose % classes >= full_bodies ? 0.1f : 1);
                const float value = flat ? pose2d[size_t(pose) * 2 * joints + k] * (k % 2 ? scale_y : scale_x)
                                         : pose3d[size_t(pose) * 3 * joints + k - 2 * joints];
                total += value * weight;
            }
            sums[warp][k] = total;
        }
        if (lane < 2) {
            float total = 0;
            for (int i = warp; i < members; i += MEAN_WARPS) {
                const int at = member[begin + i];
                total += sorted_score[at] * (lane && sorted_pose[at] % classes >= full_bodies ? 0.1f : 1);
            }
            weights[warp][lane] = total;
        }
        __syncthreads();

        float* row = rows + size_t(p + 1) * width;
        for (int k = threadIdx.x; k < values; k += blockDim.x) {
            const bool leg = (k < 2 * joints ? k / 2 : (k - 2 * joints) / 3) < 4;
            float total = 0, weight = 0;
            for (int w = 0; w < MEAN_WARPS; ++w) {
                total += sums[w][k];
                weight += weights[w][leg];
            }
            row[6 + k] = total / weight;
        }
        __syncthreads();
        if (!warp) {
            const float4 box = extent(row + 6, joints, make_float2(1, 1), lane);
            if (!lane) {
                row[0] = group_score[g];
                row[1] = __int_as_float(sorted_pose[head] % classes);
                row[2] = box.x, row[3] = box.y, row[4] = box.z, row[5] = box.w;
            }
        }
    }
}
