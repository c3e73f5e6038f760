// Causal attention with grouped queries on Hopper's tensor cores (wgmma, sm_90a), as in `attention_flash.cu` otherwise: scores exist in
// registers only, no atomic additions, and every sum has one order. After `attention.cuh`.
//
// A warpgroup is four warps and owns 64 rows, 16 to a warp; those of a block work on the same tiles of the other side, which come in a ring
// such that warpgroups may be a step apart: while one does the softmax of its scores, another has the tensor cores.
// Tiles in shared memory are what wgmma calls a 128 byte swizzle: panels of 64 columns, in which chunk c of row r lies at place c ^ (r % 8).

#define GROUP 128
#define ROWS 64
// Rows of the other side at a time, warpgroups of a block, and blocks at a time of those that need few registers.
#define STEP 64
#define FORWARD_GROUPS (D == 128 ? 3 : 2)
#define QUERY_GROUPS (D == 128 ? 3 : 2)
#define KEY_GROUPS 2
#define BLOCKS (D == 128 ? 1 : 2)

template <int HEIGHT> __device__ __forceinline__ u32 place(u32 tile, int row, int chunk) {
    return tile + (chunk / 8 * HEIGHT + row) * 128 + (chunk % 8 ^ (row & 7)) * 16;
}
template <int HEIGHT, int THREADS>
__device__ __forceinline__ void fetch_tile(u32 tile, const E *from, u32 stride, int valid) {
    u32 to = place<HEIGHT>(tile, threadIdx.x / CHUNKS, threadIdx.x % CHUNKS);
    fetch<HEIGHT, THREADS, 128>(to, from, stride, valid);
}
// Tiles come and go in a ring of STAGES. Tile n is at `stage(n)`; all threads fetch a part of it, and `put` when theirs is there, in order.
// `get` waits for the others'. Then all of them have come past their work on whatever they did before they put it.
template <int STAGES> struct Ring {
    // One 64 bit barrier for each stage, in shared memory.
    u32 barriers;
    __device__ __forceinline__ Ring(u32 barriers) : barriers(barriers) {
        if (threadIdx.x < STAGES)
            asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(barriers + 8 * threadIdx.x), "r"(blockDim.x / 32) : "memory");
        __syncthreads();
    }
    __device__ __forceinline__ int stage(int n) const { return n % STAGES; }
    // What this thread fetched, but for the last LATER groups, is there, also for the tensor cores.
    template <int LATER> __device__ __forceinline__ void put(int n) const {
        wait<LATER>();
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
        __syncwarp();
        if (threadIdx.x % 32 == 0)
            asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(barriers + 8 * stage(n)) : "memory");
    }
    __device__ __forceinline__ void get(int n) const {
        asm volatile("{.reg .pred p;\n"
                     "AGAIN: mbarrier.try_wait.parity.shared.b64 p, [%0], %1;\n"
                     "@p bra DONE;\n"
                     "bra AGAIN;\n"
                     "DONE: }" ::"r"(barriers + 8 * stage(n)), "r"(n / STAGES & 1) : "memory");
    }
};

// What wgmma is told of a matrix in shared memory: its address, bytes between panels, 1024 bytes between groups of eight rows, the swizzle.
// `at` is the address by 16; addresses have 18 bits.
__device__ __forceinline__ u64 matrix(u32 at, u32 panel) {
    return (u64)(1024 >> 4 | 1 << 30) << 32 | (panel >> 4 << 16) + at;
}
// The same number for all threads of a warp, and the compiler knows it: descriptors of matrices want that.
__device__ __forceinline__ int uniform(int x) { return __shfl_sync(~0u, x, 0); }
// What is computed before stays before, and after after: around products, which the compiler takes for done when they have begun.
template <int N> __device__ __forceinline__ void hold(float (&c)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) asm volatile("" : "+f"(c[n][i])::"memory");
}
__device__ __forceinline__ void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void end_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ __forceinline__ void wait_products() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#define C4(N) "+f"(c[N][0]), "+f"(c[N][1]), "+f"(c[N][2]), "+f"(c[N][3])
#define C32(N) C4(N), C4(N + 1), C4(N + 2), C4(N + 3), C4(N + 4), C4(N + 5), C4(N + 6), C4(N + 7)
#define SUMS32 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"
#define SUMS64                                                                                                         \
    "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,"  \
    "%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57," \
    "%58,%59,%60,%61,%62,%63}"
#define WGMMA(N) "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." TYPE "." TYPE " "

// c (+)= A Bᵀ, both in shared memory and along the head. `more`: add to what is there.
__device__ __forceinline__ void multiply(float (&c)[8][4], u64 a, u64 b, int more) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0; " WGMMA(64) SUMS32 ", %32, %33, p, 1, 1, 0, 0;}"
                 : C32(0) : "l"(a), "l"(b), "r"(more));
}
__device__ __forceinline__ void multiply(float (&c)[16][4], u64 a, u64 b, int more) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0; " WGMMA(128) SUMS64 ", %64, %65, p, 1, 1, 0, 0;}"
                 : C32(0), C32(8) : "l"(a), "l"(b), "r"(more));
}
// c += A B: A in registers, B in shared memory, one row for each column of A.
__device__ __forceinline__ void multiply(float (&c)[8][4], const u32 (&a)[4], u64 b) {
    asm volatile(WGMMA(64) SUMS32 ", {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
                 : C32(0) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void multiply(float (&c)[16][4], const u32 (&a)[4], u64 b) {
    asm volatile(WGMMA(128) SUMS64 ", {%64,%65,%66,%67}, %68, 1, 1, 1, 1;"
                 : C32(0), C32(8) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// Begins c = A Bᵀ: A is 64 rows of a tile of A_HEIGHT from `row`, B a tile of 8 N rows; both run along the head.
template <int A_HEIGHT, int N>
__device__ __forceinline__ void along_head(float (&c)[N][4], u32 a_tile, int row, u32 b_tile) {
    begin_products();
#pragma unroll
    for (int k = 0; k < D / 16; k++) {
        const u32 a = (a_tile + row * 128 >> 4) + (k / 4 * A_HEIGHT * 128 + k % 4 * 32 >> 4);
        multiply(c, matrix(a, 16), matrix((b_tile >> 4) + (k / 4 * 8 * N * 128 + k % 4 * 32 >> 4), 16), k);
    }
    end_products();
}
// Begins c += P B: P is 64 x 8 N in registers as `packed` made it, B a tile of 8 N rows.
template <int N> __device__ __forceinline__ void along_rows(float (&c)[D / 8][4], const u32 (&p)[N / 2][4], u32 tile) {
    hold(c);
    begin_products();
#pragma unroll
    for (int k = 0; k < N / 2; k++) multiply(c, p[k], matrix((tile >> 4) + (k * 2048 >> 4), 8 * N * 128));
    end_products();
}
// A product's result as the next one's operand.
template <int N> __device__ __forceinline__ void packed(u32 (&p)[N / 2][4], const float (&c)[N][4]) {
#pragma unroll
    for (int k = 0; k < N / 2; k++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[k][i] = pack<E>(c[2 * k + i / 2][i % 2 * 2], c[2 * k + i / 2][i % 2 * 2 + 1]);
}

extern "C" __global__ __launch_bounds__(FORWARD_GROUPS *GROUP, BLOCKS) void flash_forward(
    E *out, float *lse, const E *q, const E *k, const E *v, const int *starts, u32 context, u32 heads, u32 kv_heads,
    u32 window, float scale) {
    extern __shared__ __align__(1024) u8 memory[];
    const int queries = FORWARD_GROUPS * ROWS, step = STEP, threads = FORWARD_GROUPS * GROUP;
    const u32 one = step * D * 2, q_tile = shared_address(memory), kv_tiles = q_tile + queries * D * 2;
    const Ring<5> ring(kv_tiles + 5 * 2 * one);
    const Work at(heads, heads, kv_heads, context, blockIdx.x);
    const int first = (gridDim.y - 1 - blockIdx.y) * queries, group = uniform(threadIdx.x / GROUP), own = first + group * ROWS;
    const int t = threadIdx.x % 4, mine = own + threadIdx.x % GROUP / 32 * 16, row = mine + threadIdx.x % 32 / 4;
    q += (at.token + first) * at.q_stride + at.head * D;
    k += at.token * at.kv_stride + at.kv_head * D, v += at.token * at.kv_stride + at.kv_head * D;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;

    const int begin = uniform(first_seen(first, window, starts, context)) / step;
    const int last = min(first + queries, (int)context), count = (last + step - 1) / step - begin;
    // The tiles from here on come after all queries of this warpgroup.
    const int own_count = min(count, (own + ROWS + step - 1) / step - begin);
    // Keys from here on are seen by all queries of this warpgroup that do not come before them.
    const int clear = first_seen(own + ROWS - 1, window, starts, context);
    auto keys_at = [&](int n) { return kv_tiles + ring.stage(n) * 2 * one; };
    auto fetch_keys = [&](int n) {
        const int key = (begin + n) * step;
        if (n < count) {
            fetch_tile<step, threads>(keys_at(n), k + (u64)key * at.kv_stride, at.kv_stride, context - key);
            fetch_tile<step, threads>(keys_at(n) + one, v + (u64)key * at.kv_stride, at.kv_stride, context - key);
        }
        commit();
    };

    float s[step / 8][4], sum[D / 8][4] = {}, largest[2] = {-INFINITY, -INFINITY}, shrink[2], total[2] = {};
    // The scores of tile n become powers, and `shrink` what the sums before are multiplied with.
    auto soften = [&](int n) {
        const int from = (begin + n) * step;
        if (from + step > own + 1 || from < clear) {
#pragma unroll
            for (int r = 0; r < 2; r++) {
                const int query = row + 8 * r, seen = first_seen(query, window, starts, context);
#pragma unroll
                for (int n = 0; n < step / 8; n++)
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        const int key = from + 8 * n + 2 * t + i;
                        if (key > query || key < seen) s[n][2 * r + i] = -INFINITY;
                    }
            }
        }
#pragma unroll
        for (int r = 0; r < 2; r++) {
            float most = largest[r];
#pragma unroll
            for (int n = 0; n < step / 8; n++) most = fmaxf(most, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            // Nothing seen yet: any finite number will do.
            float base = most == -INFINITY ? 0.0f : most * to_power;
            shrink[r] = power2(largest[r] * to_power - base);
            largest[r] = most, total[r] *= shrink[r];
#pragma unroll
            for (int n = 0; n < step / 8; n++)
#pragma unroll
                for (int i = 2 * r; i < 2 * r + 2; i++) total[r] += s[n][i] = power2(s[n][i] * to_power - base);
        }
    };

    fetch_tile<queries, threads>(q_tile, q, at.q_stride, context - first);
    fetch_keys(0);
    fetch_keys(1);
    fetch_keys(2);
    ring.put<2>(0);
    ring.put<1>(1);
    ring.get(0);
    u32 p[step / 16][4];
    along_head<queries>(s, q_tile, group * ROWS, keys_at(0));
    wait_products<0>();
    hold(s);
    soften(0);
    packed(p, s);
    // The scores of the next tile are computed, and become powers, while the values of this one are summed.
    for (int n = 0; n < count; n++) {
        ring.put<0>(n + 2);
        ring.get(n + 1);
        fetch_keys(n + 3);
        const u32 v_tile = keys_at(n) + one;
        if (n + 1 < own_count) {
            along_head<queries>(s, q_tile, group * ROWS, keys_at(n + 1));
            along_rows<step / 8>(sum, p, v_tile);
            wait_products<1>();
            hold(s);
            soften(n + 1);
            hold(s);
            wait_products<0>();
            hold(sum);
#pragma unroll
            for (int m = 0; m < D / 8; m++)
#pragma unroll
                for (int i = 0; i < 4; i++) sum[m][i] *= shrink[i / 2];
            packed(p, s);
        } else if (n + 1 == own_count) {
            along_rows<step / 8>(sum, p, v_tile);
            wait_products<0>();
            hold(sum);
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        total[r] += __shfl_xor_sync(~0u, total[r], 1);
        total[r] += __shfl_xor_sync(~0u, total[r], 2);
        if (t == 0 && row + 8 * r < (int)context)
            lse[(at.token + row + 8 * r) * heads + at.head] = largest[r] * scale + logf(total[r]);
    }
    write(out + (at.token + mine) * at.q_stride + at.head * D, at.q_stride, sum, (int)context - mine, 1.0f / total[0],
          1.0f / total[1]);
}

// The gradient of q, written over it: a block reads no queries but its own.
extern "C" __global__ __launch_bounds__(QUERY_GROUPS *GROUP, BLOCKS) void flash_query(
    E *q, const E *k, const E *v, const float *lse, const float *delta, const E *g, const int *starts, u32 context,
    u32 heads, u32 kv_heads, u32 window, float scale) {
    extern __shared__ __align__(1024) u8 memory[];
    const int queries = QUERY_GROUPS * ROWS, step = STEP, threads = QUERY_GROUPS * GROUP;
    const u32 one = step * D * 2, q_tile = shared_address(memory), g_tile = q_tile + queries * D * 2;
    const u32 kv_tiles = g_tile + queries * D * 2;
    const Ring<4> ring(kv_tiles + 4 * 2 * one);
    const Work at(heads, heads, kv_heads, context, blockIdx.x);
    const int first = (gridDim.y - 1 - blockIdx.y) * queries, group = uniform(threadIdx.x / GROUP), own = first + group * ROWS;
    const int t = threadIdx.x % 4, mine = own + threadIdx.x % GROUP / 32 * 16, row = mine + threadIdx.x % 32 / 4;
    q += (at.token + first) * at.q_stride + at.head * D, g += (at.token + first) * at.q_stride + at.head * D;
    k += at.token * at.kv_stride + at.kv_head * D, v += at.token * at.kv_stride + at.kv_head * D;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;

    const int begin = uniform(first_seen(first, window, starts, context)) / step;
    const int last = min(first + queries, (int)context), count = (last + step - 1) / step - begin;
    const int clear = first_seen(own + ROWS - 1, window, starts, context);
    auto keys_at = [&](int n) { return kv_tiles + ring.stage(n) * 2 * one; };
    auto fetch_keys = [&](int n) {
        const int key = (begin + n) * step;
        if (n < count) {
            fetch_tile<step, threads>(keys_at(n), k + (u64)key * at.kv_stride, at.kv_stride, context - key);
            fetch_tile<step, threads>(keys_at(n) + one, v + (u64)key * at.kv_stride, at.kv_stride, context - key);
        }
        commit();
    };
    fetch_tile<queries, threads>(q_tile, q, at.q_stride, context - first);
    fetch_tile<queries, threads>(g_tile, g, at.q_stride, context - first);
    fetch_keys(0);
    fetch_keys(1);
    ring.put<1>(0);
    float row_lse[2], row_delta[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        bool valid = row + 8 * r < (int)context;
        u64 index = (at.token + row + 8 * r) * heads + at.head;
        row_lse[r] = valid ? lse[index] * LOG2E : 0.0f, row_delta[r] = valid ? delta[index] : 0.0f;
    }

    float sum[D / 8][4] = {};
    for (int n = 0; n < count; n++) {
        ring.put<0>(n + 1);
        ring.get(n);
        fetch_keys(n + 2);
        const int from = (begin + n) * step;
        // Keys that all come after the queries of this warpgroup.
        if (from >= own + ROWS) continue;
        const u32 k_tile = keys_at(n), v_tile = k_tile + one;
        float s[step / 8][4], d[step / 8][4];
        along_head<queries>(s, q_tile, group * ROWS, k_tile);
        along_head<queries>(d, g_tile, group * ROWS, v_tile);
        wait_products<1>();
        hold(s);
        const bool whole = from + step <= own + 1 && from >= clear;
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int query = row + 8 * r, seen = whole ? 0 : first_seen(query, window, starts, context);
#pragma unroll
            for (int m = 0; m < step / 8; m++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int key = from + 8 * m + 2 * t + i;
                    float &score = s[m][2 * r + i];
                    score = power2(score * to_power - row_lse[r]);
                    if (!whole && (key > query || key < seen)) score = 0.0f;
                }
        }
        hold(s);
        wait_products<0>();
        hold(d);
#pragma unroll
        for (int m = 0; m < step / 8; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) d[m][i] = s[m][i] * (d[m][i] - row_delta[i / 2]);
        u32 p[step / 16][4];
        packed(p, d);
        along_rows<step / 8>(sum, p, k_tile);
        wait_products<0>();
        hold(sum);
    }
    write(q + (u64)(mine - first) * at.q_stride, at.q_stride, sum, (int)context - mine, scale, scale);
}

// The gradients of the keys and values that a block owns of one head, over all queries of its group that see them.
extern "C" __global__ __launch_bounds__(KEY_GROUPS *GROUP, 1) void flash_key(
    E *gk, E *gv, const E *q, const E *k, const E *v, const float *lse, const float *delta, const E *g, const int *starts,
    u32 context, u32 heads, u32 kv_heads, u32 window, float scale) {
    extern __shared__ __align__(1024) u8 memory[];
    const int keys = KEY_GROUPS * ROWS, step = STEP, threads = KEY_GROUPS * GROUP;
    const u32 k_tile = shared_address(memory), v_tile = k_tile + keys * D * 2, q_tiles = v_tile + keys * D * 2;
    const u32 one = step * D * 2, rows_at = q_tiles + 4 * 2 * one;
    const Ring<4> ring(rows_at + 4 * 2 * step * 4);
    const float *rows = (const float *)(memory + (rows_at - k_tile));
    const Work at(kv_heads, heads, kv_heads, context, blockIdx.x);
    const int first = blockIdx.y * keys, group = uniform(threadIdx.x / GROUP), own = first + group * ROWS, shared = heads / kv_heads;
    const int t = threadIdx.x % 4, mine = own + threadIdx.x % GROUP / 32 * 16, key = mine + threadIdx.x % 32 / 4;
    if (starts) starts += at.token;
    const float to_power = scale * LOG2E;
    const QueryTiles tiles(first, keys, step, window, starts, context);
    const int count = uniform(shared * tiles.count);
    // The n-th step: a head of the group, and a tile of its queries.
    auto fetch_queries = [&](int n) {
        if (n < count) {
            u32 to = q_tiles + ring.stage(n) * 2 * one, floats = rows_at + ring.stage(n) * 2 * step * 4;
            int head = at.kv_head * shared + n / tiles.count, from = (tiles.begin + n % tiles.count) * step;
            int valid = (int)context - from;
            u64 token = at.token + from;
            fetch_tile<step, threads>(to, q + token * at.q_stride + head * D, at.q_stride, valid);
            fetch_tile<step, threads>(to + one, g + token * at.q_stride + head * D, at.q_stride, valid);
            fetch_floats<step>(floats, lse + token * heads + head, heads, valid);
            fetch_floats<step>(floats + step * 4, delta + token * heads + head, heads, valid);
        }
        commit();
    };
    const u64 from_here = (at.token + first) * at.kv_stride + at.kv_head * D;
    fetch_tile<keys, threads>(k_tile, k + from_here, at.kv_stride, context - first);
    fetch_tile<keys, threads>(v_tile, v + from_here, at.kv_stride, context - first);
    fetch_queries(0);
    fetch_queries(1);
    ring.put<1>(0);

    float sum_k[D / 8][4] = {}, sum_v[D / 8][4] = {};
    for (int n = 0; n < count; n++) {
        ring.put<0>(n + 1);
        ring.get(n);
        fetch_queries(n + 2);
        u32 q_tile = q_tiles + ring.stage(n) * 2 * one, g_tile = q_tile + one;
        const float *row_lse = rows + ring.stage(n) * 2 * step, *row_delta = row_lse + step;
        const int from = (tiles.begin + n % tiles.count) * step;
        // Queries that all come before the keys of this warpgroup.
        if (from + step <= own) continue;
        float s[step / 8][4], d[step / 8][4];
        along_head<keys>(s, k_tile, group * ROWS, q_tile);
        along_head<keys>(d, v_tile, group * ROWS, g_tile);
        wait_products<1>();
        hold(s);
        const bool whole = own + ROWS <= from + 1 && own >= first_seen(from + step - 1, window, starts, context);
#pragma unroll
        for (int m = 0; m < step / 8; m++)
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int column = 8 * m + 2 * t + i, query = from + column;
                const float less = row_lse[column] * LOG2E;
                const int seen = whole ? 0 : first_seen(query, window, starts, context);
#pragma unroll
                for (int low = 0; low < 2; low++) {
                    float &x = s[m][2 * low + i];
                    x = power2(x * to_power - less);
                    if (!whole && (key + 8 * low > query || key + 8 * low < seen)) x = 0.0f;
                }
            }
        u32 p[step / 16][4];
        packed(p, s);
        along_rows<step / 8>(sum_v, p, g_tile);
        wait_products<1>();
        hold(d);
#pragma unroll
        for (int m = 0; m < step / 8; m++)
#pragma unroll
            for (int i = 0; i < 4; i++) d[m][i] = s[m][i] * (d[m][i] - row_delta[8 * m + 2 * t + i % 2]);
        u32 ds[step / 16][4];
        packed(ds, d);
        along_rows<step / 8>(sum_k, ds, q_tile);
        wait_products<0>();
        hold(sum_v);
        hold(sum_k);
    }
    const u64 to = (at.token + mine) * at.kv_stride + at.kv_head * D;
    write(gk + to, at.kv_stride, sum_k, (int)context - mine, scale, scale);
    write(gv + to, at.kv_stride, sum_v, (int)context - mine, 1.0f, 1.0f);
}
