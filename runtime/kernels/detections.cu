// A detector's answer to the boxes of those who score enough, before suppression; detections.py is the specification.
// They come in any order, each with its number, by which the CPU brings them into the reference's.
#include "common.cuh"

#define THREADS 256
#define WIDTH 6  // of a row: box, score, number; the first row begins with how many there are

struct Found {
    float* rows;

    __device__ __forceinline__ void add(float4 box, float score, int number) const {
        float* row = rows + (1 + size_t(atomicAdd((int*)rows, 1))) * WIDTH;
        row[0] = box.x, row[1] = box.y, row[2] = box.z, row[3] = box.w, row[4] = score;
        row[5] = __int_as_float(number);
    }
};

struct Cell {
    int column, row, stride;
};

// Of the cell with this number in grids of 8, 16 and 32 pixels, grid after grid, row after row.
__device__ __forceinline__ Cell cell(int number, int height, int width) {
    int stride = 8;
    for (; stride < 32; stride *= 2) {
        const int cells = (height / stride) * (width / stride);
        if (number < cells) break;
        number -= cells;
    }
    const int columns = width / stride;
    return {number % columns, number / columns, stride};
}

// One row an anchor: centre in its cell, logarithm of the size, objectness, classes.
template <class T>
__device__ void yolox(const T* anchors, float* rows, int count, int length, int person, int height, int width,
                      float least) {
    const Found found = {rows};
    for (int i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS) {
        const T* anchor = anchors + size_t(i) * length;
        const float score = load(anchor + 4) * load(anchor + 5 + person);
        if (!(score >= least)) continue;
        const Cell at = cell(i, height, width);
        const float stride = at.stride;
        const float x = (load(anchor) + at.column) * stride, y = (load(anchor + 1) + at.row) * stride;
        const float half_x = expf(load(anchor + 2)) * stride / 2, half_y = expf(load(anchor + 3)) * stride / 2;
        found.add(make_float4(x - half_x, y - half_y, x + half_x, y + half_y), score, i);
    }
}

// One map a grid: class logits, then the distances to the four sides. `first` is the number of its first cell.
template <class T>
__device__ void rtmdet(const T* map, float* rows, int count, int columns, int length, int person, int first,
                       float stride, float least) {
    const Found found = {rows};
    for (int i = blockIdx.x * THREADS + threadIdx.x; i < count; i += gridDim.x * THREADS) {
        const T* here = map + size_t(i) * length;
        const float score = (tanhf(load(here + person) / 2) + 1) / 2;
        if (!(score >= least)) continue;
        const float x = (i % columns) * stride, y = (i / columns) * stride;
        const T* sides = here + length - 4;
        const float4 box = make_float4(x - load(sides), y - load(sides + 1), x + load(sides + 2), y + load(sides + 3));
        found.add(box, score, first + i);
    }
}

#define YOLOX(name, T)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                          \
        name(const T* anchors, float* rows, int count, int length, int person, int height, int width, float least) { \
        yolox(anchors, rows, count, length, person, height, width, least);                                         \
    }
#define RTMDET(name, T)                                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS) name(const T* map, float* rows, int count, int columns,  \
                                                               int length, int person, int first, float stride,    \
                                                               float least) {                                      \
        rtmdet(map, rows, count, columns, length, person, first, stride, least);                                   \
    }

YOLOX(yolox_float, float)
YOLOX(yolox_half, half16)
RTMDET(rtmdet_float, float)
RTMDET(rtmdet_half, half16)
