// Element by element over flat arrays: `n` elements, eight at a time and the rest singly.

template <typename T, typename F> __device__ __forceinline__ void over(u64 n, F each) {
    for (u64 i = FLAT_START; i < n / 8; i += FLAT_STRIDE) each.template operator()<8>(8 * i);
    for (u64 i = n / 8 * 8 + FLAT_START; i < n; i += FLAT_STRIDE) each.template operator()<1>(i);
}

template <typename T> struct Add {
    T *x;
    const T *y;
    template <int V> __device__ void operator()(u64 i) {
        float a[V], b[V];
        load<V>(x + i, a), load<V>(y + i, b);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] += b[k];
        store<V>(x + i, a);
    }
};

template <typename T> struct Swiglu {
    T *out;
    const T *gate, *up;
    template <int V> __device__ void operator()(u64 i) {
        float g[V], u[V];
        load<V>(gate + i, g), load<V>(up + i, u);
#pragma unroll
        for (int k = 0; k < V; k++) g[k] = g[k] / (1.0f + __expf(-g[k])) * u[k];
        store<V>(out + i, g);
    }
};

// silu'(x) = s (1 + x (1 - s)) with s the sigmoid of x. Over the gradient comes silu(gate) * up again.
template <typename T> struct SwigluBackward {
    T *gate, *up, *grad;
    template <int V> __device__ void operator()(u64 i) {
        float g[V], u[V], d[V];
        load<V>(gate + i, g), load<V>(up + i, u), load<V>(grad + i, d);
#pragma unroll
        for (int k = 0; k < V; k++) {
            float s = 1.0f / (1.0f + __expf(-g[k])), silu = g[k] * s;
            g[k] = d[k] * u[k] * s * (1.0f + g[k] * (1.0f - s));
            float y = silu * u[k];
            u[k] = d[k] * silu, d[k] = y;
        }
        store<V>(gate + i, g), store<V>(up + i, u), store<V>(grad + i, d);
    }
};

// Philox4x32-10 (Salmon et al., 2011): four words of random bits for a counter.
__device__ __forceinline__ void philox(u64 counter, u64 draw, u64 stream, u32 (&x)[4]) {
    x[0] = (u32)counter, x[1] = (u32)(counter >> 32), x[2] = (u32)draw, x[3] = (u32)(draw >> 32);
    u32 key0 = (u32)stream, key1 = (u32)(stream >> 32);
#pragma unroll
    for (int round = 0; round < 10; round++, key0 += 0x9e3779b9u, key1 += 0xbb67ae85u) {
        u64 a = (u64)0xd2511f53u * x[0], c = (u64)0xcd9e8d57u * x[2];
        u32 b = x[1], d = x[3];
        x[0] = (u32)(c >> 32) ^ b ^ key0, x[1] = (u32)c, x[2] = (u32)(a >> 32) ^ d ^ key1, x[3] = (u32)a;
    }
}

// Which elements are dropped, as the CPU's `kernels/cpu/dropout.rs` has it: a counter for four neighbours.
struct Mask {
    u64 stream, draw, threshold;
    float scale;
    // What the elements from number `i` on are multiplied with.
    template <int V> __device__ void factors(u64 i, float (&f)[V]) const {
        u32 bits[4];
        if constexpr (V == 8) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                philox(i / 4 + half, draw, stream, bits);
#pragma unroll
                for (int k = 0; k < 4; k++) f[4 * half + k] = bits[k] < threshold ? 0.0f : scale;
            }
        } else {
            philox(i / 4, draw, stream, bits);
            f[0] = bits[i % 4] < threshold ? 0.0f : scale;
        }
    }
};

template <typename T> struct Dropout {
    T *out;
    const T *x;
    Mask mask;
    template <int V> __device__ void operator()(u64 i) {
        float a[V], f[V];
        load<V>(x + i, a), mask.factors<V>(i, f);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] *= f[k];
        store<V>(out + i, a);
    }
};

template <typename T> struct AddDropout {
    T *x;
    const T *y;
    Mask mask;
    template <int V> __device__ void operator()(u64 i) {
        float a[V], b[V], f[V];
        load<V>(x + i, a), load<V>(y + i, b), mask.factors<V>(i, f);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] += b[k] * f[k];
        store<V>(x + i, a);
    }
};

template <typename T> struct Cast {
    T *out;
    const float *x;
    template <int V> __device__ void operator()(u64 i) {
        float a[V];
        load<V>(x + i, a), store<V>(out + i, a);
    }
};

#define KERNELS(NAME, T)                                                                                              \
    extern "C" __global__ void add_##NAME(T *x, const T *y, u64 n) { over<T>(n, Add<T>{x, y}); }                      \
    extern "C" __global__ void swiglu_##NAME(T *out, const T *gate, const T *up, u64 n) {                             \
        over<T>(n, Swiglu<T>{out, gate, up});                                                                         \
    }                                                                                                                 \
    extern "C" __global__ void swiglu_backward_##NAME(T *gate, T *up, T *grad, u64 n) {                               \
        over<T>(n, SwigluBackward<T>{gate, up, grad});                                                                \
    }                                                                                                                 \
    extern "C" __global__ void dropout_##NAME(T *out, const T *x, u64 n, u64 stream, u64 draw, u64 threshold,         \
                                              float scale) {                                                          \
        over<T>(n, Dropout<T>{out, x, {stream, draw, threshold, scale}});                                             \
    }                                                                                                                 \
    extern "C" __global__ void add_dropout_##NAME(T *x, const T *y, u64 n, u64 stream, u64 draw, u64 threshold,       \
                                                  float scale) {                                                      \
        over<T>(n, AddDropout<T>{x, y, {stream, draw, threshold, scale}});                                            \
    }                                                                                                                 \
    /* x[t] += bias */                                                                                                \
    extern "C" __global__ void add_bias_##NAME(T *x, const T *bias, u64 n, u32 columns) {                             \
        for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE)                                                             \
            x[i] = from_float<T>(to_float(x[i]) + to_float(bias[i % columns]));                                       \
    }                                                                                                                 \
    /* one block a token */                                                                                           \
    extern "C" __global__ void embed_##NAME(T *out, const T *table, const int *ids, u32 columns) {                    \
        const T *row = table + (u64)ids[blockIdx.x] * columns;                                                        \
        for (u32 i = threadIdx.x; i < columns; i += blockDim.x) out[(u64)blockIdx.x * columns + i] = row[i];          \
    }
FOR_EACH(KERNELS)

// grad += the sum of g's rows; one thread a column.
#define ADD_ROWS(NAME, T, G)                                                                                          \
    extern "C" __global__ void add_rows_##NAME(G *grad, const T *g, u32 rows, u32 columns) {                          \
        u32 column = blockIdx.x * blockDim.x + threadIdx.x;                                                           \
        if (column >= columns) return;                                                                                \
        float sum = 0.0f;                                                                                             \
        for (u32 row = 0; row < rows; row++) sum += to_float(g[(u64)row * columns + column]);                         \
        add_to(grad[column], sum);                                                                                    \
    }
FOR_EACH_GRADIENT(ADD_ROWS)

// grad[id] += g[token] for every token; one thread a column, tokens in order: the same sum every time, though a word may come twice.
#define EMBED_BACKWARD(NAME, T)                                                                                       \
    extern "C" __global__ void embed_backward_##NAME(float *grad, const int *ids, const T *g, u32 tokens,             \
                                                     u32 columns) {                                                   \
        u32 column = blockIdx.x * blockDim.x + threadIdx.x;                                                           \
        if (column >= columns) return;                                                                                \
        for (u32 token = 0; token < tokens; token++)                                                                  \
            grad[(u64)ids[token] * columns + column] += to_float(g[(u64)token * columns + column]);                   \
    }
FOR_EACH(EMBED_BACKWARD)

// The same where the gradient is bf16, one block a token: the first that has its id adds up what all of them give and rounds once, as
// a word that comes often would else be lost in the rounding.
template <int V> __device__ void add_all_of(int id, bf16 *grad, const int *ids, const bf16 *g, u32 tokens, u32 columns) {
    for (u32 column = threadIdx.x * V; column < columns; column += blockDim.x * V) {
        float sum[V], x[V];
        load<V>(grad + (u64)id * columns + column, sum);
        float added[V] = {};
        for (u32 token = blockIdx.x; token < tokens; token++)
            if (ids[token] == id) {
                load<V>(g + (u64)token * columns + column, x);
#pragma unroll
                for (int k = 0; k < V; k++) added[k] += x[k];
            }
#pragma unroll
        for (int k = 0; k < V; k++) sum[k] += added[k];
        store<V>(grad + (u64)id * columns + column, sum);
    }
}
extern "C" __global__ void embed_backward_bf16_pure(bf16 *grad, const int *ids, const bf16 *g, u32 tokens, u32 columns) {
    const int id = ids[blockIdx.x];
    bool earlier = false;
    for (u32 token = threadIdx.x; token < blockIdx.x; token += blockDim.x) earlier |= ids[token] == id;
    if (__syncthreads_or(earlier)) return;
    if (columns % 8 == 0) add_all_of<8>(id, grad, ids, g, tokens, columns);
    else add_all_of<1>(id, grad, ids, g, tokens, columns);
}

extern "C" __global__ void cast_bf16(bf16 *out, const float *x, u64 n) { over<float>(n, Cast<bf16>{out, x}); }
extern "C" __global__ void cast_f16(f16 *out, const float *x, u64 n) { over<float>(n, Cast<f16>{out, x}); }

// Uniform within +-spread, by a hash of the element's number: random weights that no host has to make.
__device__ __forceinline__ u32 hashed(u64 x) {
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return (u32)(x >> 32);
}
#define RANDOM(NAME, T)                                                                                               \
    extern "C" __global__ void random_##NAME(T *out, u64 n, u64 seed, float spread, float mean) {                     \
        for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) {                                                           \
            float unit = (hashed(seed + i * 0x9e3779b97f4a7c15ull) >> 8) * (1.0f / 8388608.0f) - 1.0f;                \
            out[i] = from_float<T>(mean + unit * spread);                                                             \
        }                                                                                                             \
    }
FOR_EACH(RANDOM)
extern "C" __global__ void random_bytes(u32 *out, u64 n, u64 seed) {
    for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) out[i] = hashed(seed + i * 0x9e3779b97f4a7c15ull);
}
