// Mean distances between the joints of many 3D poses: 32 rows by 64 columns a block of 256 threads. A warp has four
// rows, a lane of it two columns, `lane` and `lane + 32`.

#define ROWS 32
#define COLUMNS 64
#define AT_ONCE 8  // joints

struct Tile {
    int pose[ROWS + COLUMNS];  // the numbers of the rows' poses, then of the columns', -1 for none
    float row[ROWS][3 * AT_ONCE], column[COLUMNS][3 * AT_ONCE + 1];
};

__device__ __forceinline__ float distance(const float* a, const float* b) {
    const float x = a[0] - b[0], y = a[1] - b[1], z = a[2] - b[2];
    return sqrtf(x * x + y * y + z * z);
}

// Of two poses, by one thread.
__device__ __forceinline__ float mean_distance(const float* a, const float* b, int joints) {
    const float share = 1.0f / joints;
    float total = 0;
    for (int j = 0; j < joints; ++j) total += distance(a + 3 * j, b + 3 * j) * share;
    return total;
}

// Of the tile's poses, by the whole block; `tile.pose` is set by the caller, without a barrier.
// Warps whose answers nobody wants are not `active`. NaN where there is no pose.
__device__ __forceinline__ void mean_distances(Tile& tile, const float* poses, int joints, bool active, float (&mean)[4][2]) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const float share = 1.0f / joints;
    for (int i = 0; i < 4; ++i) mean[i][0] = mean[i][1] = 0;
    for (int first = 0; first < joints; first += AT_ONCE) {
        const int here = min(AT_ONCE, joints - first), width = 3 * AT_ONCE;
        __syncthreads();
        for (int i = threadIdx.x; i < (ROWS + COLUMNS) * width; i += blockDim.x) {
            const int item = i / width, k = i % width, pose = tile.pose[item];
            const bool there = pose >= 0 && k < 3 * here;
            const float value = there ? __ldg(poses + (size_t(pose) * joints + first) * 3 + k) : NOT_SEEN;
            (item < ROWS ? tile.row[item] : tile.column[item - ROWS])[k] = value;
        }
        __syncthreads();
        if (!active) continue;
        for (int j = 0; j < here; ++j)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float* row = &tile.row[4 * warp + i][3 * j];
                mean[i][0] += distance(row, &tile.column[lane][3 * j]) * share;
                mean[i][1] += distance(row, &tile.column[lane + 32][3 * j]) * share;
            }
    }
    __syncthreads();  // the tile is free again
}
