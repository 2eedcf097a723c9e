// What the kernels of pose-proposal integration share: their counts, and sums over a block.

enum Count { CANDIDATES, ITEMS, GROUPS, STARTERS, HEADS, STARTER_STRIDE };

__device__ __forceinline__ int first_thread() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int all_threads() { return gridDim.x * blockDim.x; }
__device__ __forceinline__ int first_warp() { return first_thread() / 32; }
__device__ __forceinline__ int all_warps() { return all_threads() / 32; }

// The sum of all values of threads before this one, and of the whole block in `total`, by 1,024 threads.
__device__ int sum_before(int value, int* total) {
    __shared__ int sums[32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int upto = value;
    for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(FULL, upto, step);
        if (lane >= step) upto += other;
    }
    __syncthreads();
    if (lane == 31) sums[warp] = upto;
    __syncthreads();
    int all = sums[lane];
    for (int step = 1; step < 32; step *= 2) {
        const int other = __shfl_up_sync(FULL, all, step);
        if (lane >= step) all += other;
    }
    *total = __shfl_sync(FULL, all, 31);
    const int before_warp = __shfl_sync(FULL, all, warp ? warp - 1 : 0);
    return upto - value + (warp ? before_warp : 0);
}

// Whether marks of `rows` rows of `words` words have room.
__device__ __forceinline__ bool has_room(int rows, int words, int room) { return (long long)rows * words <= room; }
