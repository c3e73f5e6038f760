// What the kernels of attention that work on tiles share: elements of 16 bits (ELEMENT is bf16 or f16), heads of HEAD_DIM (64 or 128) of them.

typedef ELEMENT E;
// The name of the type, which is PTX's too.
#define SPELL(WORD) #WORD
#define SPELLED(WORD) SPELL(WORD)
#define TYPE SPELLED(ELEMENT)

#define D HEAD_DIM
#define CHUNKS (D / 8)
#define LOG2E 1.4426950408889634f

__device__ __forceinline__ float power2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ u32 shared_address(const void *at) { return (u32)__cvta_generic_to_shared(at); }
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> __device__ __forceinline__ void wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

// Copies ROWS rows of a head into a tile, in the background, by a block of THREADS. `to` is where this thread's chunk of eight elements of
// its first row goes: chunk threadIdx.x % CHUNKS of row threadIdx.x / CHUNKS. Its next rows are a multiple of eight further, and each row
// of the tile is ROW bytes from the one before. Rows from `valid` on become zeros.
template <int ROWS, int THREADS, int ROW>
__device__ __forceinline__ void fetch(u32 to, const E *from, u32 stride, int valid) {
    const int pass = THREADS / CHUNKS, passes = (ROWS + pass - 1) / pass;
    const int first = threadIdx.x / CHUNKS;
    const E *source = from + (u64)first * stride + threadIdx.x % CHUNKS * 8;
    const bool whole = valid >= ROWS;
#pragma unroll
    for (int i = 0; i < passes; i++) {
        const int row = first + i * pass;
        if (ROWS % pass && i == passes - 1 && row >= ROWS) break;
        const bool there = whole || row < valid;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to + i * pass * ROW),
                     "l"(there ? source : from), "r"(there ? 16 : 0));
        source += (u64)pass * stride;
    }
}
// COUNT floats, `stride` apart.
template <int COUNT> __device__ __forceinline__ void fetch_floats(u32 to, const float *from, u32 stride, int valid) {
    int row = threadIdx.x;
    if (row < COUNT)
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to + 4 * row),
                     "l"(from + (u64)(row < valid ? row : 0) * stride), "r"(row < valid ? 4 : 0));
}

// Writes 16 rows of a head, times `low` and `high` for the rows g and g + 8 of a thread.
__device__ __forceinline__ void write(E *to, u32 stride, const float (&c)[D / 8][4], int valid, float low, float high) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        if (g < valid) *(u32 *)(to + (u64)g * stride + 8 * n + 2 * t) = pack<E>(c[n][0] * low, c[n][1] * low);
        if (g + 8 < valid) *(u32 *)(to + (u64)(g + 8) * stride + 8 * n + 2 * t) = pack<E>(c[n][2] * high, c[n][3] * high);
    }
}

// The first key that `query` sees, by a window (0: none) and the column where its sample begins (null: the first), which `starts` has for
// each token of its row. It never falls from one query to the next. Queries beyond the row see what its last one does.
__device__ __forceinline__ int first_seen(int query, int window, const int *starts, int context) {
    int first = window && query + 1 > window ? query + 1 - window : 0;
    return starts ? max(first, starts[min(query, context - 1)]) : first;
}

// What a block works on. Blocks of one tile and all heads run together; the tiles with most work come first.
struct Work {
    u32 heads, kv_heads, head, kv_head, q_stride, kv_stride;
    u64 token;
    __device__ Work(u32 of, u32 heads, u32 kv_heads, u32 context, u32 head_or_kv)
        : heads(heads), kv_heads(kv_heads), q_stride(heads * D), kv_stride(kv_heads * D) {
        token = (u64)(head_or_kv / of) * context;
        head = head_or_kv % of;
        kv_head = of == heads ? head / (heads / kv_heads) : head;
    }
};

// The tiles of queries that a block of `keys` keys from `first` on has to do with: the first of them, and how many, each `step` long.
struct QueryTiles {
    int begin, count;
    __device__ QueryTiles(int first, int keys, int step, int window, const int *starts, int context) {
        begin = first / step;
        int last = window && window < context ? min(first + keys + window - 1, context) : context;
        count = (last + step - 1) / step - begin;
        if (starts) {
            // A tile whose first query sees only later keys is the end: the samples of these keys are over.
            int most = count;
            for (count = 1; count < most && starts[(begin + count) * step] < first + keys;) count++;
        }
    }
};

// delta[token, head] = the sum of out * g: what the softmax takes off every gradient of its row. Eight heads' parts a warp.
extern "C" __global__ void flash_delta(float *delta, const E *out, const E *g, u64 rows) {
    const int lanes = D / 8;
    u64 row = FLAT_START / lanes;
    if (row >= rows) return;
    int chunk = threadIdx.x % lanes;
    float a[8], b[8], sum = 0.0f;
    load8(out + row * D + chunk * 8, a), load8(g + row * D + chunk * 8, b);
#pragma unroll
    for (int i = 0; i < 8; i++) sum += a[i] * b[i];
#pragma unroll
    for (int lane = lanes / 2; lane > 0; lane /= 2) sum += __shfl_xor_sync(~0u, sum, lane);
    if (chunk == 0) delta[row] = sum;
}
