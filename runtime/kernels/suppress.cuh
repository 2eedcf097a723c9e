// Greedy suppression: items are ranked, neighbours marked in bits, and every item that no kept one before it is near
// is kept. `suppress` in boxes.py and the groups and modes of ppi.py are of this kind.
//
// Row r of `mask` has a bit for every column c > r that is near it: word w holds columns 64 (r / 64 + w) to + 63.

#define WORDS 4096  // of 64 items each, that one suppression can have

// Whether an item comes before another: the greater score, of equals the first; NaN last.
__device__ __forceinline__ bool before(float a, int i, float b, int j) {
    const bool nan_a = a != a, nan_b = b != b;
    if (nan_a || nan_b) return nan_a == nan_b ? i < j : nan_b;
    return a > b || (a == b && i < j);
}

__device__ __forceinline__ int sum(int value) {  // over a warp
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

__device__ __forceinline__ u64 any_bit(u64 bits) {  // set in any lane of a warp
    for (int step = 16; step; step /= 2) bits |= __shfl_xor_sync(FULL, bits, step);
    return bits;
}

// How many of `count` items come before item i; for a whole warp.
__device__ __forceinline__ int rank(const float* score, int count, int i, int lane) {
    const float mine = score[i];
    int found = 0;
    for (int j = lane; j < count; j += 32) found += before(__ldg(score + j), j, mine, i);
    return sum(found);
}

// Rows of 32 by one word each block of 256 threads; the grid's y counts rows, its x words.
template <class Near>
__device__ void mark_near(Near near, int count, u64* mask, int stride) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (int tile = blockIdx.y; tile * 32 < count; tile += gridDim.y)
        for (int word = tile / 2 + blockIdx.x; word * 64 < count; word += gridDim.x)
            for (int i = 0; i < 4; ++i) {
                const int row = tile * 32 + warp * 4 + i, low = word * 64 + lane, high = low + 32;
                if (row >= count) break;
                const u64 bits = __ballot_sync(FULL, low > row && low < count && near(row, low)) |
                                 u64(__ballot_sync(FULL, high > row && high < count && near(row, high))) << 32;
                if (!lane) mask[size_t(row) * stride + word - row / 64] = bits;
            }
}

// The items of one word that are kept: those that none of the open ones before them is near, again and again. A
// lane has the words of rows `lane` and `lane + 32`.
__device__ __forceinline__ u64 keep_of_word(u64 open, u64 near_low, u64 near_high, int lane) {
    u64 kept = 0;
    while (open) {
        const u64 covered = any_bit((open >> lane & 1 ? near_low : 0) | (open >> (lane + 32) & 1 ? near_high : 0));
        const u64 heads = open & ~covered;
        const u64 gone = any_bit((heads >> lane & 1 ? near_low : 0) | (heads >> (lane + 32) & 1 ? near_high : 0));
        kept |= heads;
        open &= ~(heads | gone);
    }
    return kept;
}

// Which of the items begin .. last - 1 are kept, by one block of 1,024 threads; answers with their number. `keep` is
// called with each and its place among them, by some thread, `end(r)` is where the columns of row r end, `gone` is
// shared memory of WORDS.
template <class End, class Keep>
__device__ int resolve(int begin, int last, const u64* mask, int stride, End end, u64* gone, Keep keep) {
    __shared__ u64 kept_word;
    const int lane = threadIdx.x % 32, row = threadIdx.x / 16, first_word = begin / 64;
    for (int w = threadIdx.x; (first_word + w) * 64 < last; w += blockDim.x) gone[w] = 0;
    __syncthreads();
    int found = 0;
    u64 low = 0, high = 0;
    for (int word = first_word; word * 64 < last; ++word) {
        const int first = word * 64;
        if (threadIdx.x < 32) {
            if (word == first_word) {
                low = first + lane < last ? mask[size_t(first + lane) * stride] : 0;
                high = first + lane + 32 < last ? mask[size_t(first + lane + 32) * stride] : 0;
            }
            u64 open = ~gone[word - first_word];
            if (last - first < 64) open &= (1ull << (last - first)) - 1;
            if (begin > first) open &= ~0ull << (begin - first);
            const u64 kept = keep_of_word(open, low, high, lane);
            if (!lane) kept_word = kept;
            const int next = first + 64 + lane;  // on its way while the others work
            low = next < last ? mask[size_t(next) * stride] : 0;
            high = next + 32 < last ? mask[size_t(next + 32) * stride] : 0;
        }
        __syncthreads();
        const u64 kept = kept_word;
        if (kept >> row & 1) {
            const int item = first + row, words = (end(item) - 1) / 64 - word;
            if (threadIdx.x % 16 == 0) keep(item, found + __popcll(kept & ((1ull << row) - 1)));
            for (int w = 1 + threadIdx.x % 16; w <= words; w += 16) {
                const u64 bits = mask[size_t(item) * stride + w];
                if (bits) atomicOr(&gone[word - first_word + w], bits);
            }
        }
        found += __popcll(kept);
        __syncthreads();
    }
    return found;
}

// The same where the mask had no room: what is near is found when it is needed.
template <class End, class Near, class Keep>
__device__ int resolve_unmarked(int begin, int last, End end, Near near, u64* gone, Keep keep) {
    const int first_word = begin / 64;
    for (int w = threadIdx.x; (first_word + w) * 64 < last; w += blockDim.x) gone[w] = 0;
    __syncthreads();
    int found = 0;
    for (int item = begin; item < last; ++item) {
        if (gone[item / 64 - first_word] >> (item % 64) & 1) continue;
        __syncthreads();  // nobody reads what is written now
        if (!threadIdx.x) keep(item, found);
        ++found;
        const int stop = end(item);
        for (int c = item + 1 + threadIdx.x; c < stop; c += blockDim.x)
            if (near(item, c)) atomicOr(&gone[c / 64 - first_word], 1ull << (c % 64));
        __syncthreads();
    }
    return found;
}
