// Causal attention with grouped queries, any type and head: one warp a query (or key) and head, nothing in shared memory.
//
// For f32 and for heads that the flash kernels do not know. Lanes share the elements of a head; a head has at most 256.

#define MOST 8

template <typename T> __device__ void take(const T *from, float (&x)[MOST], u32 head_dim) {
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        u32 i = threadIdx.x + 32 * k;
        x[k] = i < head_dim ? to_float(from[i]) : 0.0f;
    }
}
template <typename T> __device__ void put(T *to, const float (&x)[MOST], u32 head_dim) {
#pragma unroll
    for (int k = 0; k < MOST; k++) {
        u32 i = threadIdx.x + 32 * k;
        if (i < head_dim) to[i] = from_float<T>(x[k]);
    }
}
__device__ __forceinline__ float dot(const float (&a)[MOST], const float (&b)[MOST]) {
    float sum = 0.0f;
#pragma unroll
    for (int k = 0; k < MOST; k++) sum += a[k] * b[k];
    return warp_sum(sum);
}

// What every kernel here is told: the shape of heads, a window (0: none), and for each token the column of its row where its sample
// begins (null: the first).
struct Shape {
    const int *starts;
    u32 context, heads, kv_heads, head_dim, window;
    float scale;
    // The first key that the query at `position` of the row from token `row` sees.
    __device__ u32 first(u32 row, u32 position) const {
        u32 first = window && position + 1 > window ? position + 1 - window : 0;
        return starts && (u32)starts[row + position] > first ? (u32)starts[row + position] : first;
    }
};

template <typename T> __device__ void forward(T *out, float *lse, const T *q, const T *k, const T *v, Shape s) {
    u32 token = blockIdx.x, head = blockIdx.y, position = token % s.context, start = token - position;
    u64 at = ((u64)token * s.heads + head) * s.head_dim;
    u32 kv_head = head / (s.heads / s.kv_heads);
    float query[MOST], x[MOST], sum[MOST] = {};
    take(q + at, query, s.head_dim);
    float largest = -3.0e38f, total = 0.0f;
    for (u32 j = s.first(start, position); j <= position; j++) {
        u64 key = ((u64)(start + j) * s.kv_heads + kv_head) * s.head_dim;
        take(k + key, x, s.head_dim);
        float score = dot(query, x) * s.scale, most = fmaxf(largest, score);
        float shrink = __expf(largest - most), p = __expf(score - most);
        largest = most, total = total * shrink + p;
        take(v + key, x, s.head_dim);
#pragma unroll
        for (int i = 0; i < MOST; i++) sum[i] = sum[i] * shrink + p * x[i];
    }
#pragma unroll
    for (int i = 0; i < MOST; i++) sum[i] /= total;
    put(out + at, sum, s.head_dim);
    if (threadIdx.x == 0) lse[(u64)token * s.heads + head] = largest + logf(total);
}

// delta = the sum of out * g over a head: what the softmax takes off every gradient of its row.
template <typename T> __device__ void row_delta(float *delta, const T *out, const T *g, u32 heads, u32 head_dim) {
    u64 at = (u64)blockIdx.x * heads + blockIdx.y;
    float a[MOST], b[MOST];
    take(out + at * head_dim, a, head_dim), take(g + at * head_dim, b, head_dim);
    float sum = dot(a, b);
    if (threadIdx.x == 0) delta[at] = sum;
}

// The gradient of q, written over it: a warp reads no query but its own.
template <typename T>
__device__ void query_backward(T *q, const T *k, const T *v, const float *lse, const float *delta, const T *g, Shape s) {
    u32 token = blockIdx.x, head = blockIdx.y, position = token % s.context, start = token - position;
    u64 row = (u64)token * s.heads + head, at = row * s.head_dim;
    u32 kv_head = head / (s.heads / s.kv_heads);
    float query[MOST], grad[MOST], x[MOST], sum[MOST] = {};
    take(q + at, query, s.head_dim), take(g + at, grad, s.head_dim);
    for (u32 j = s.first(start, position); j <= position; j++) {
        u64 key = ((u64)(start + j) * s.kv_heads + kv_head) * s.head_dim;
        take(v + key, x, s.head_dim);
        float along = dot(grad, x);
        take(k + key, x, s.head_dim);
        float p = __expf(dot(query, x) * s.scale - lse[row]), d = p * (along - delta[row]) * s.scale;
#pragma unroll
        for (int i = 0; i < MOST; i++) sum[i] += d * x[i];
    }
    put(q + at, sum, s.head_dim);
}

// The gradients of one key and value, over all queries that see them.
template <typename T>
__device__ void key_backward(T *gk, T *gv, const T *q, const T *k, const T *v, const float *lse, const float *delta,
                             const T *g, Shape s) {
    u32 token = blockIdx.x, kv_head = blockIdx.y, position = token % s.context, start = token - position;
    u32 group = s.heads / s.kv_heads;
    u64 at = ((u64)token * s.kv_heads + kv_head) * s.head_dim;
    float key[MOST], value[MOST], x[MOST], y[MOST], sum_k[MOST] = {}, sum_v[MOST] = {};
    take(k + at, key, s.head_dim), take(v + at, value, s.head_dim);
    u32 end = s.window && position + s.window < s.context ? position + s.window : s.context;
    // Queries of the samples after this key's do not see it.
    if (s.starts)
        for (u32 i = position + 1; i < end; i++)
            if ((u32)s.starts[start + i] > position) end = i;
    for (u32 head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (u32 i = position; i < end; i++) {
            u64 row = (u64)(start + i) * s.heads + head;
            take(q + row * s.head_dim, x, s.head_dim), take(g + row * s.head_dim, y, s.head_dim);
            float p = __expf(dot(x, key) * s.scale - lse[row]), d = p * (dot(y, value) - delta[row]) * s.scale;
#pragma unroll
            for (int e = 0; e < MOST; e++) sum_k[e] += d * x[e], sum_v[e] += p * y[e];
        }
    put(gk + at, sum_k, s.head_dim), put(gv + at, sum_v, s.head_dim);
}

#define KERNELS(NAME, T)                                                                                              \
    extern "C" __global__ void attention_##NAME(T *out, float *lse, const T *q, const T *k, const T *v,               \
                                                const int *starts, u32 context, u32 heads, u32 kv_heads, u32 head_dim,\
                                                u32 window, float scale) {                                            \
        forward(out, lse, q, k, v, Shape{starts, context, heads, kv_heads, head_dim, window, scale});                 \
    }                                                                                                                 \
    extern "C" __global__ void attention_delta_##NAME(float *delta, const T *out, const T *g, u32 heads,              \
                                                      u32 head_dim) {                                                 \
        row_delta(delta, out, g, heads, head_dim);                                                                    \
    }                                                                                                                 \
    extern "C" __global__ void attention_query_##NAME(T *q, const T *k, const T *v, const float *lse,                 \
                                                      const float *delta, const T *g, const int *starts, u32 context, \
                                                      u32 heads, u32 kv_heads, u32 head_dim, u32 window, float scale) {\
        query_backward(q, k, v, lse, delta, g, Shape{starts, context, heads, kv_heads, head_dim, window, scale});     \
    }                                                                                                                 \
    extern "C" __global__ void attention_key_##NAME(T *gk, T *gv, const T *q, const T *k, const T *v, const float *lse,\
                                                    const float *delta, const T *g, const int *starts, u32 context,   \
                                                    u32 heads, u32 kv_heads, u32 head_dim, u32 window, float scale) { \
        key_backward(gk, gv, q, k, v, lse, delta, g,                                                                  \
                     Shape{starts, context, heads, kv_heads, head_dim, window, scale});                               \
    }
FOR_EACH(KERNELS)
