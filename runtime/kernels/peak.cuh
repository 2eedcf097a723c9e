// The greatest value of a row and its place; as NumPy's argmax, the first of equals wins, and NaN over all.

struct Peak {
    float value;
    int place;
};

__device__ __forceinline__ bool above(Peak a, Peak b) {
    const bool nan_a = a.value != a.value, nan_b = b.value != b.value;
    if (nan_a || nan_b) return nan_a && (!nan_b || a.place < b.place);
    return a.value > b.value || (a.value == b.value && a.place < b.place);
}

// The greatest of a warp's, for every lane.
__device__ __forceinline__ Peak peak_of_lanes(Peak best) {
    for (int step = 16; step; step /= 2) {
        const Peak other = {__shfl_xor_sync(FULL, best.value, step), __shfl_xor_sync(FULL, best.place, step)};
        if (above(other, best)) best = other;
    }
    return best;
}

// The peak of `count` values, for every lane of the warp.
template <class T>
__device__ __forceinline__ Peak peak(const T* values, int count, int lane) {
    Peak best = {-INF, 0x7fffffff};
    for (int i = lane; i < count; i += 32) {
        const Peak here = {load(values + i), i};
        if (above(here, best)) best = here;
    }
    return peak_of_lanes(best);
}
