// Causal attention with grouped queries after FlashAttention 2 (Dao, 2023): scores exist in registers only, products run on tensor cores
// (mma.m16n8k16), the sums are float. After `attention.cuh`.
//
// A block of four warps owns 128 queries, 32 to a warp, or 64 keys, 16 to a warp. Tiles in shared memory have rows of HEAD_DIM elements in
// chunks of eight, and chunk c of row r lies at place c ^ (r % 8): so eight rows of one column never meet in one bank.
// The backward has no atomic additions: one kernel per side of the scores, and every sum has one order.

#define QUERIES 128
#define KEYS 64
#define THREADS 128
// Rows of the other side that are worked on at a time in backward, where registers are short.
#define STEP (D == 128 ? 32 : 64)
__device__ __forceinline__ u32 place(u32 tile, int row, int chunk) {
    return tile + (row * CHUNKS + (chunk ^ (row & 7))) * 16;
}
__device__ __forceinline__ void read4(u32 (&x)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(at));
}
__device__ __forceinline__ void read4_transposed(u32 (&x)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(at));
}
__device__ __forceinline__ void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <int ROWS> __device__ __forceinline__ void fetch_tile(u32 tile, const E *from, u32 stride, int valid) {
    fetch<ROWS, THREADS, D * 2>(place(tile, threadIdx.x / CHUNKS, threadIdx.x % CHUNKS), from, stride, valid);
}

// c += A Bᵀ: A is 16 M rows of a tile from `row`, B the first 8 N rows of another; both run along the head.
template <int M, int N>
__device__ __forceinline__ void along_head(float (&c)[M][N][4], u32 a_tile, int row, u32 b_tile) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        u32 a[M][4], b[4];
#pragma unroll
        for (int m = 0; m < M; m++) read4(a[m], place(a_tile, row + 16 * m + (lane & 15), 2 * k + (lane >> 4)));
#pragma unroll
        for (int n = 0; n < N / 2; n++) {
            read4(b, place(b_tile, 16 * n + (lane & 7) + (lane >> 4 << 3), 2 * k + (lane >> 3 & 1)));
#pragma unroll
            for (int m = 0; m < M; m++)
                multiply(c[m][2 * n], a[m], b[0], b[1]), multiply(c[m][2 * n + 1], a[m], b[2], b[3]);
        }
    }
}

// c += P B: P is 16 M x 8 N in registers, as a product left it; B the first 8 N rows of a tile.
template <int M, int N>
__device__ __forceinline__ void along_rows(float (&c)[M][D / 8][4], const float (&p)[M][N][4], u32 tile) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < N / 2; k++) {
        u32 a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const float *from = p[m][2 * k + i / 2] + i % 2 * 2;
                a[m][i] = pack<E>(from[0], from[1]);
            }
#pragma unroll
        for (int n = 0; n < D / 16; n++) {
            u32 b[4];
            read4_transposed(b, place(tile, 16 * k + (lane & 15), 2 * n + (lane >> 4)));
#pragma unroll
            for (int m = 0; m < M; m++)
                multiply(c[m][2 * n], a[m], b[0], b[1]), multiply(c[m][2 * n + 1], a[m], b[2], b[3]);
        }
    }
}

extern "C" __global__ __launch_bounds__(THREADS, 2) void flash_forward(E *out, float *lse, const E *q, const E *k,
                                                                       const E *v, const int *starts, u32 context,
                                                                       u32 heads, u32 kv_heads, u32 window, float scale) {
    extern __shared__ __align__(128) u8 memory[];
    const u32 q_tile = shared_address(memory), kv_tiles = q_tile + QUERIES * D * 2, one = KEYS * D * 2;
    const Work at(heads, heads, kv_heads, context, blockIdx.x);
    const int first = (gridDim.y - 1 - blockIdx.y) * QUERIES, warp = threadIdx.x / 32;
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4, own = first + warp * 32, row = own + g;
    q += (at.token + first) * at.q_stride + at.head * D;
    k += at.token * at.kv_stride + at.kv_head * D, v += at.token * at.kv_stride + at.kv_head * D;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;

    const int begin = first_seen(first, window, starts, context) / KEYS;
    const int last = first + QUERIES < (int)context ? first + QUERIES : context, end = (last + KEYS - 1) / KEYS;
    auto fetch_keys = [&](int tile) {
        u32 to = kv_tiles + (tile & 1) * 2 * one;
        fetch_tile<KEYS>(to, k + (u64)tile * KEYS * at.kv_stride, at.kv_stride, context - tile * KEYS);
        fetch_tile<KEYS>(to + one, v + (u64)tile * KEYS * at.kv_stride, at.kv_stride, context - tile * KEYS);
    };
    fetch_tile<QUERIES>(q_tile, q, at.q_stride, context - first);
    fetch_keys(begin);
    commit();

    float sum[2][D / 8][4] = {}, largest[4], total[4] = {};
#pragma unroll
    for (int i = 0; i < 4; i++) largest[i] = -INFINITY;
    // Keys from here on are seen by all queries of this warp that do not come before them.
    const int clear = first_seen(own + 31, window, starts, context);
    for (int tile = begin; tile < end; tile++) {
        if (tile + 1 < end) fetch_keys(tile + 1);
        commit();
        wait<1>();
        __syncthreads();
        u32 k_tile = kv_tiles + (tile & 1) * 2 * one, v_tile = k_tile + one;
        // A warp whose queries all come before these keys has nothing to do.
        if (tile * KEYS < own + 32) {
            float s[2][KEYS / 8][4] = {};
            along_head(s, q_tile, warp * 32, k_tile);
            if (tile * KEYS + KEYS > own + 1 || tile * KEYS < clear) {
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    const int query = row + 8 * r, seen = first_seen(query, window, starts, context);
#pragma unroll
                    for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                        for (int i = 0; i < 2; i++) {
                            const int key = tile * KEYS + 8 * n + 2 * t + i;
                            if (key > query || key < seen) s[r / 2][n][r % 2 * 2 + i] = -INFINITY;
                        }
                }
            }
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int m = r / 2, half = r % 2;
                float most = largest[r];
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++) most = fmaxf(most, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
                most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
                // Nothing seen yet: any finite number will do.
                float base = most == -INFINITY ? 0.0f : most * to_power, shrink = power2(largest[r] * to_power - base);
                largest[r] = most, total[r] *= shrink;
#pragma unroll
                for (int n = 0; n < KEYS / 8; n++)
#pragma unroll
                    for (int i = 2 * half; i < 2 * half + 2; i++)
                        total[r] += s[m][n][i] = power2(s[m][n][i] * to_power - base);
#pragma unroll
                for (int n = 0; n < D / 8; n++) sum[m][n][2 * half] *= shrink, sum[m][n][2 * half + 1] *= shrink;
            }
            along_rows(sum, s, v_tile);
        }
        __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < 4; r++) {
        total[r] += __shfl_xor_sync(~0u, total[r], 1);
        total[r] += __shfl_xor_sync(~0u, total[r], 2);
        if (t == 0 && row + 8 * r < (int)context)
            lse[(at.token + row + 8 * r) * heads + at.head] = largest[r] * scale + logf(total[r]);
    }
#pragma unroll
    for (int m = 0; m < 2; m++) {
        const int mine = own + 16 * m;
        write(out + (at.token + mine) * at.q_stride + at.head * D, at.q_stride, sum[m], (int)context - mine,
              1.0f / total[2 * m], 1.0f / total[2 * m + 1]);
    }
}

// The gradient of q, written over it: a block reads no queries but its own.
extern "C" __global__ __launch_bounds__(THREADS, 2) void flash_query(E *q, const E *k, const E *v, const float *lse,
                                                                     const float *delta, const E *g, const int *starts,
                                                                     u32 context, u32 heads, u32 kv_heads, u32 window,
                                                                     float scale) {
    extern __shared__ __align__(128) u8 memory[];
    const u32 q_tile = shared_address(memory), g_tile = q_tile + QUERIES * D * 2, kv_tiles = g_tile + QUERIES * D * 2;
    const u32 one = STEP * D * 2;
    const Work at(heads, heads, kv_heads, context, blockIdx.x);
    const int first = (gridDim.y - 1 - blockIdx.y) * QUERIES, warp = threadIdx.x / 32, own = first + warp * 32;
    const int t = threadIdx.x % 4, row = own + threadIdx.x % 32 / 4;
    q += (at.token + first) * at.q_stride + at.head * D, g += (at.token + first) * at.q_stride + at.head * D;
    k += at.token * at.kv_stride + at.kv_head * D, v += at.token * at.kv_stride + at.kv_head * D;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;

    const int begin = first_seen(first, window, starts, context) / STEP;
    const int last = first + QUERIES < (int)context ? first + QUERIES : context, end = (last + STEP - 1) / STEP;
    auto fetch_keys = [&](int tile) {
        u32 to = kv_tiles + (tile & 1) * 2 * one;
        fetch_tile<STEP>(to, k + (u64)tile * STEP * at.kv_stride, at.kv_stride, context - tile * STEP);
        fetch_tile<STEP>(to + one, v + (u64)tile * STEP * at.kv_stride, at.kv_stride, context - tile * STEP);
    };
    fetch_tile<QUERIES>(q_tile, q, at.q_stride, context - first);
    fetch_tile<QUERIES>(g_tile, g, at.q_stride, context - first);
    fetch_keys(begin);
    commit();
    float row_lse[4], row_delta[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        bool valid = row + 8 * r < (int)context;
        u64 index = (at.token + row + 8 * r) * heads + at.head;
        row_lse[r] = valid ? lse[index] * LOG2E : 0.0f, row_delta[r] = valid ? delta[index] : 0.0f;
    }

    float sum[2][D / 8][4] = {};
    for (int tile = begin; tile < end; tile++) {
        if (tile + 1 < end) fetch_keys(tile + 1);
        commit();
        wait<1>();
        __syncthreads();
        u32 k_tile = kv_tiles + (tile & 1) * 2 * one, v_tile = k_tile + one;
        if (tile * STEP < own + 32) {
            float s[2][STEP / 8][4] = {}, d[2][STEP / 8][4] = {};
            along_head(s, q_tile, warp * 32, k_tile);
            along_head(d, g_tile, warp * 32, v_tile);
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int query = row + 8 * r, seen = first_seen(query, window, starts, context);
#pragma unroll
                for (int n = 0; n < STEP / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const int key = tile * STEP + 8 * n + 2 * t + i;
                        float &score = s[r / 2][n][r % 2 * 2 + i], &grad = d[r / 2][n][r % 2 * 2 + i];
                        grad = key <= query && key >= seen ? power2(score * to_power - row_lse[r]) * (grad - row_delta[r]) : 0.0f;
                    }
            }
            along_rows(sum, d, k_tile);
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < 2; m++) {
        const int mine = warp * 32 + 16 * m;
        write(q + (u64)mine * at.q_stride, at.q_stride, sum[m], (int)context - first - mine, scale, scale);
    }
}

// The gradients of 64 keys and values of one head, over all queries of its group that see them.
extern "C" __global__ __launch_bounds__(THREADS, 2) void flash_key(E *gk, E *gv, const E *q, const E *k,
                                                                   const E *v, const float *lse, const float *delta,
                                                                   const E *g, const int *starts, u32 context, u32 heads,
                                                                   u32 kv_heads, u32 window, float scale) {
    extern __shared__ __align__(128) u8 memory[];
    const u32 k_tile = shared_address(memory), v_tile = k_tile + KEYS * D * 2, q_tiles = v_tile + KEYS * D * 2;
    const u32 one = STEP * D * 2, rows_at = q_tiles + 4 * one;
    const float *rows = (const float *)(memory + (rows_at - k_tile));
    const Work at(kv_heads, heads, kv_heads, context, blockIdx.x);
    const int first = blockIdx.y * KEYS, warp = threadIdx.x / 32, group = heads / kv_heads;
    const int t = threadIdx.x % 4, key = first + warp * 16 + threadIdx.x % 32 / 4;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;

    const QueryTiles tiles(first, KEYS, STEP, window, starts, context);
    // The n-th step: a head of the group, and a tile of its queries.
    auto fetch_queries = [&](int n) {
        u32 to = q_tiles + (n & 1) * 2 * one, floats = rows_at + (n & 1) * 2 * STEP * 4;
        int head = at.kv_head * group + n / tiles.count, from = (tiles.begin + n % tiles.count) * STEP, valid = (int)context - from;
        u64 token = at.token + from;
        fetch_tile<STEP>(to, q + token * at.q_stride + head * D, at.q_stride, valid);
        fetch_tile<STEP>(to + one, g + token * at.q_stride + head * D, at.q_stride, valid);
        fetch_floats<STEP>(floats, lse + token * heads + head, heads, valid);
        fetch_floats<STEP>(floats + STEP * 4, delta + token * heads + head, heads, valid);
    };
    const u64 own = (at.token + first) * at.kv_stride + at.kv_head * D;
    fetch_tile<KEYS>(k_tile, k + own, at.kv_stride, context - first);
    fetch_tile<KEYS>(v_tile, v + own, at.kv_stride, context - first);
    fetch_queries(0);
    commit();

    float sum_k[1][D / 8][4] = {}, sum_v[1][D / 8][4] = {};
    for (int n = 0; n < group * tiles.count; n++) {
        if (n + 1 < group * tiles.count) fetch_queries(n + 1);
        commit();
        wait<1>();
        __syncthreads();
        u32 q_tile = q_tiles + (n & 1) * 2 * one, g_tile = q_tile + one;
        const float *row_lse = rows + (n & 1) * 2 * STEP, *row_delta = row_lse + STEP;
        const int from = (tiles.begin + n % tiles.count) * STEP;
        float p[1][STEP / 8][4] = {}, d[1][STEP / 8][4] = {};
        along_head(p, k_tile, warp * 16, q_tile);
#pragma unroll
        for (int m = 0; m < STEP / 8; m++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int column = 8 * m + 2 * t + i, query = from + column;
                const int seen = first_seen(query, window, starts, context);
#pragma unroll
                for (int low = 0; low < 2; low++) {
                    float &x = p[0][m][2 * low + i];
                    const int own = key + 8 * low;
                    x = own <= query && own >= seen ? power2(x * to_power - row_lse[column] * LOG2E) : 0.0f;
                }
            }
        along_rows(sum_v, p, g_tile);
        along_head(d, v_tile, warp * 16, g_tile);
#pragma unroll
        for (int m = 0; m < STEP / 8; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) d[0][m][i] = p[0][m][i] * (d[0][m][i] - row_delta[8 * m + 2 * t + i % 2]);
        along_rows(sum_k, d, q_tile);
        __syncthreads();
    }
    const int mine = first + warp * 16;
    const u64 to = (at.token + mine) * at.kv_stride + at.kv_head * D;
    write(gk + to, at.kv_stride, sum_k[0], (int)context - mine, scale, scale);
    write(gv + to, at.kv_stride, sum_v[0], (int)context - mine, 1.0f, 1.0f);
}
