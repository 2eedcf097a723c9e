// Boxes: x, y, z and w are x0, y0, x1 and y1; boxes.py is the specification, NaN included.

__device__ __forceinline__ float area(float4 a, float pixel) {
    return greater(a.z - a.x + pixel, 0) * greater(a.w - a.y + pixel, 0);
}

// Intersection over union; with `pixel` 1 a box includes its last row and column.
__device__ __forceinline__ float iou(float4 a, float4 b, float pixel) {
    const float width = lesser(a.z, b.z) - greater(a.x, b.x) + pixel;
    const float height = lesser(a.w, b.w) - greater(a.y, b.y) + pixel;
    const float shared = greater(width, 0) * greater(height, 0);
    const float joined = area(a, pixel) + area(b, pixel) - shared;
    return joined > 0 ? shared / joined : 0;
}

// The tight box around J joints times `scale`, for every lane of the warp.
__device__ __forceinline__ float4 extent(const float* pose2d, int joints, float2 scale, int lane) {
    float4 box = make_float4(INF, INF, -INF, -INF);
    for (int j = lane; j < joints; j += 32) {
        const float x = pose2d[2 * j] * scale.x, y = pose2d[2 * j + 1] * scale.y;
        box = make_float4(lesser(box.x, x), lesser(box.y, y), greater(box.z, x), greater(box.w, y));
    }
    for (int step = 16; step; step /= 2) {
        box.x = lesser(box.x, __shfl_xor_sync(FULL, box.x, step));
        box.y = lesser(box.y, __shfl_xor_sync(FULL, box.y, step));
        box.z = greater(box.z, __shfl_xor_sync(FULL, box.z, step));
        box.w = greater(box.w, __shfl_xor_sync(FULL, box.w, step));
    }
    return box;
}
