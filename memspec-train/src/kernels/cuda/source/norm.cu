// RMSNorm (Zhang and Sennrich, 2019), one block a row, and rotary position embedding (Su et al., 2021).

template <int V, typename T>
__device__ float inverse_rms(const T *x, u32 columns, float epsilon) {
    float squares = 0.0f;
    for (u32 i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        float a[V];
        load<V>(x + i, a);
#pragma unroll
        for (int k = 0; k < V; k++) squares += a[k] * a[k];
    }
    return rsqrtf(block_sum(squares) / columns + epsilon);
}

template <int V, typename T>
__device__ void norm(T *out, const T *x, const T *weight, u32 columns, float epsilon) {
    x += (u64)blockIdx.x * columns, out += (u64)blockIdx.x * columns;
    float r = inverse_rms<V>(x, columns, epsilon);
    for (u32 i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        float a[V], w[V];
        load<V>(x + i, a), load<V>(weight + i, w);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] *= r * w[k];
        store<V>(out + i, a);
    }
}

// With h = g * weight: r h - x r^3 mean(h x), written over g; plus what came past the norm, when that is given.
template <int V, typename T>
__device__ void norm_backward(T *g, const T *x, const T *weight, const T *past, u32 columns, float epsilon) {
    u64 row = (u64)blockIdx.x * columns;
    x += row, g += row;
    float squares = 0.0f, along = 0.0f;
    for (u32 i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        float a[V], w[V], d[V];
        load<V>(x + i, a), load<V>(weight + i, w), load<V>(g + i, d);
#pragma unroll
        for (int k = 0; k < V; k++) squares += a[k] * a[k], along += a[k] * w[k] * d[k];
    }
    float r = rsqrtf(block_sum(squares) / columns + epsilon);
    float c = block_sum(along) / columns * r * r * r;
    for (u32 i = threadIdx.x * V; i < columns; i += blockDim.x * V) {
        float a[V], w[V], d[V];
        load<V>(x + i, a), load<V>(weight + i, w), load<V>(g + i, d);
#pragma unroll
        for (int k = 0; k < V; k++) d[k] = r * d[k] * w[k] - a[k] * c;
        if (past) {
            load<V>(past + row + i, a);
#pragma unroll
            for (int k = 0; k < V; k++) d[k] += a[k];
        }
        store<V>(g + i, d);
    }
}

// Half-split layout, one block a token; `sign` is -1 for the transpose. The first 2 * half elements of a head are rotated.
// Positions count from the column where the token's sample begins (0 without `starts`).
template <int V, typename T>
__device__ void rotate(T *x, const float *cosines, const float *sines, const int *starts, u32 context, u32 width,
                       u32 head_dim, u32 half, float sign) {
    x += (u64)blockIdx.x * width;
    u64 position = (u64)(blockIdx.x % context - (starts ? (u32)starts[blockIdx.x] : 0)) * half;
    for (u32 i = threadIdx.x * V; i < width / head_dim * half; i += blockDim.x * V) {
        u32 at = i % half, low = i / half * head_dim + at;
        float c[V], s[V], a[V], b[V];
        load<V>(cosines + position + at, c), load<V>(sines + position + at, s);
        load<V>(x + low, a), load<V>(x + low + half, b);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float turned = a[k] * c[k] - b[k] * s[k] * sign;
            b[k] = b[k] * c[k] + a[k] * s[k] * sign, a[k] = turned;
        }
        store<V>(x + low, a), store<V>(x + low + half, b);
    }
}

#define KERNELS(NAME, T)                                                                                              \
    extern "C" __global__ void rms_norm_##NAME(T *out, const T *x, const T *weight, u32 columns, float epsilon) {     \
        if (columns % 8 == 0) norm<8>(out, x, weight, columns, epsilon);                                              \
        else norm<1>(out, x, weight, columns, epsilon);                                                               \
    }                                                                                                                 \
    extern "C" __global__ void rms_norm_backward_##NAME(T *g, const T *x, const T *weight, const T *past, u32 columns, \
                                                        float epsilon) {                                              \
        if (columns % 8 == 0) norm_backward<8>(g, x, weight, past, columns, epsilon);                                 \
        else norm_backward<1>(g, x, weight, past, columns, epsilon);                                                  \
    }                                                                                                                 \
    /* 1 / rms of each row, for the next kernel */                                                                    \
    extern "C" __global__ void rms_norm_inverse_##NAME(float *out, const T *x, u32 columns, float epsilon) {          \
        float r = inverse_rms<1>(x + (u64)blockIdx.x * columns, columns, epsilon);                                    \
        if (threadIdx.x == 0) out[blockIdx.x] = r;                                                                    \
    }                                                                                                                 \
    extern "C" __global__ void rotary_##NAME(T *x, const float *cosines, const float *sines, const int *starts,       \
                                             u32 context, u32 width, u32 head_dim, u32 half, float sign) {            \
        if (half % 8 == 0 && head_dim % 8 == 0)                                                                       \
            rotate<8>(x, cosines, sines, starts, context, width, head_dim, half, sign);                               \
        else rotate<1>(x, cosines, sines, starts, context, width, head_dim, half, sign);                              \
    }
FOR_EACH(KERNELS)

// grad += the sum of g * x / rms over the rows; one thread a column.
#define WEIGHT_BACKWARD(NAME, T, G)                                                                                   \
    extern "C" __global__ void rms_norm_weight_backward_##NAME(G *grad, const T *g, const T *x,                       \
                                                               const float *inverse, u32 rows, u32 columns) {         \
        u32 column = blockIdx.x * blockDim.x + threadIdx.x;                                                           \
        if (column >= columns) return;                                                                                \
        float sum = 0.0f;                                                                                             \
        for (u32 row = 0; row < rows; row++) {                                                                        \
            u64 at = (u64)row * columns + column;                                                                     \
            sum += to_float(g[at]) * to_float(x[at]) * inverse[row];                                                  \
        }                                                                                                             \
        add_to(grad[column], sum);                                                                                    \
    }
FOR_EACH_GRADIENT(WEIGHT_BACKWARD)
