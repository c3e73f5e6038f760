// DoRA (Liu et al., 2024): norms of adapted rows, and outputs scaled to their magnitudes. Norms, magnitudes and sums are floats.

// The outputs that a block of `to_magnitude_backward` takes, a warp's width, and the rows that it reads at a time.
#define WIDTH 32
#define HEIGHT 16

#define KERNELS(NAME, T)                                                                                              \
    /* squares[first + row] = the sum of squares of a row of x; one block a row */                                    \
    extern "C" __global__ void row_squares_##NAME(float *squares, const T *x, u32 first, u32 columns) {               \
        x += (u64)blockIdx.x * columns;                                                                               \
        float sum = 0.0f;                                                                                             \
        for (u32 i = threadIdx.x; i < columns; i += blockDim.x) sum += to_float(x[i]) * to_float(x[i]);               \
        sum = block_sum(sum);                                                                                         \
        if (threadIdx.x == 0) squares[first + blockIdx.x] = sum;                                                      \
    }                                                                                                                 \
    /* the norms of W + scale B A, of ||W||^2 and inner = A W^T + scale / 2 A A^T B^T; one thread a row of W */       \
    extern "C" __global__ void adapted_norms_##NAME(float *norms, const float *squares, const T *inner, const T *b,   \
                                                    u32 outputs, u32 rank, float scale) {                             \
        for (u64 row = FLAT_START; row < outputs; row += FLAT_STRIDE) {                                               \
            float along = 0.0f;                                                                                       \
            for (u32 r = 0; r < rank; r++)                                                                            \
                along += to_float(b[row * rank + r]) * to_float(inner[(u64)r * outputs + row]);                       \
            norms[row] = sqrtf(fmaxf(squares[row] + 2.0f * scale * along, 1.17549435e-38f));                          \
        }                                                                                                             \
    }                                                                                                                 \
    /* x[t] *= magnitude / norms */                                                                                   \
    extern "C" __global__ void to_magnitude_##NAME(T *x, const float *magnitude, const float *norms, u64 n,           \
                                                   u32 columns, u32 first) {                                          \
        for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) {                                                           \
            u32 at = first + i % columns;                                                                             \
            x[i] = from_float<T>(to_float(x[i]) * (magnitude[at] / norms[at]));                                       \
        }                                                                                                             \
    }                                                                                                                 \
    /* grad += sum g z / norms, and over z: g magnitude / norms. Sums are added in one order, so they are always the same */ \
    extern "C" __global__ void to_magnitude_backward_##NAME(float *grad, T *z, const T *g, const float *magnitude,    \
                                                            const float *norms, u32 rows, u32 columns, u32 first) {   \
        __shared__ float sums[HEIGHT][WIDTH];                                                                         \
        u32 lane = threadIdx.x % WIDTH, line = threadIdx.x / WIDTH, column = blockIdx.x * WIDTH + lane;               \
        float sum = 0.0f, norm = 1.0f, factor = 0.0f;                                                                 \
        if (column < columns) {                                                                                       \
            norm = norms[first + column], factor = magnitude[first + column] / norm;                                  \
            for (u64 row = line; row < rows; row += HEIGHT) {                                                         \
                u64 at = row * columns + column;                                                                      \
                float d = to_float(g[at]);                                                                            \
                sum += d * to_float(z[at]);                                                                           \
                z[at] = from_float<T>(d * factor);                                                                    \
            }                                                                                                         \
        }                                                                                                             \
        sums[line][lane] = sum;                                                                                       \
        __syncthreads();                                                                                              \
        if (line == 0 && column < columns) {                                                                          \
            for (u32 i = 1; i < HEIGHT; i++) sum += sums[i][lane];                                                    \
            grad[first + column] += sum / norm;                                                                       \
        }                                                                                                             \
    }
FOR_EACH(KERNELS)
