// Adapters of activations that are read once. One reading of X [tokens, columns] gives inner sums X W for weights W [columns, rank], and
// outer sums Vᵀ X for V [tokens, rank]. The former are over columns and the latter over tokens: blocks leave them in parts, which are
// added up afterwards in one order. After `tensor_core.cuh`. Elements are of type ELEMENT, bf16 or f16; the rank is 8 or 16, and the columns
// are a multiple of 32.
//
// A warp has 32 columns, and 16 tokens at a time. The order of columns inside a product's inner dimension is free, so it is such that a
// thread has eight neighbours of two tokens: its element 2 i + e is that of column 8 t + 2 i + e.

typedef ELEMENT T;
#define RANK 16
// Columns of a warp, and tokens at a time; inner sums of so many tokens.
#define WIDTH 32
#define TOKENS 16
#define SUMS (TOKENS * RANK)

__device__ __forceinline__ u32 both(T low, T high) { return low.bits | (u32)high.bits << 16; }

// A thread's part of a piece of X: its tokens g and g + 8 of 16.
struct Piece {
    u32 word[2][4];
};

// A weight of inner sums: element (column, r) is at[column * by_column + r * by_rank].
struct Weight {
    const T *at;
    u32 by_column, by_rank;
    // A warp's 32 columns, in the order in which `inner` reads them.
    __device__ void keep(uint2 *to, u32 column, u32 rank) const {
        const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int step = 0; step < 2; step++)
#pragma unroll
            for (int n = 0; n < 2; n++) {
                const T *from = at + (u64)(column + 8 * t + 4 * step) * by_column + (u64)(8 * n + g) * by_rank;
                uint2 two = {0, 0};
                if (8 * n < rank)
                    two = {both(from[0], from[by_column]), both(from[2 * (u64)by_column], from[3 * (u64)by_column])};
                to[(step * 2 + n) * 32 + lane] = two;
            }
    }
};

// c = X W, tokens by rank.
__device__ __forceinline__ void inner(float (&c)[2][4], const Piece &x, const uint2 *w) {
#pragma unroll
    for (int step = 0; step < 2; step++) {
        const u32 a[4] = {x.word[0][2 * step], x.word[1][2 * step], x.word[0][2 * step + 1], x.word[1][2 * step + 1]};
#pragma unroll
        for (int n = 0; n < 2; n++) {
            const uint2 two = w[(step * 2 + n) * 32 + threadIdx.x % 32];
            const u32 b[2] = {two.x, two.y};
            multiply<T>(c[n], a, b);
        }
    }
}

// c += Vᵀ X, rank by columns. V [tokens, rank] has zeros from token `end` on.
__device__ __forceinline__ void outer(float (&c)[4][4], const Piece &x, const T *v, u32 top, u32 end, u32 rank) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    u32 a[4];
#pragma unroll
    for (int part = 0; part < 4; part++) {
        const u32 token = top + g + part / 2 * 8, r = part % 2 * 8;
        a[part] = transposed(token < end && r < rank ? *(const u32 *)(v + (u64)token * rank + r + 2 * t) : 0);
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const u32 b[2] = {transposed(x.word[0][i]), transposed(x.word[1][i])};
        multiply<T>(c[i], a, b);
    }
}

// What a block leaves and where: inner sums [IN, blocks of columns, tiles of tokens, SUMS] in the order of `place_of`, outer sums
// [OUT, splits, RANK, columns]. It has the tokens of a split, `each` of them.
struct Parts {
    float *inners, *outers;
    u32 tokens, columns, rank, each, stages;
};

// Reads what X is made of once, stage by stage, with IN inner and OUT outer sums on the way. `Read` has TENSORS tensors `from` and makes of
// 16 bytes of each of them, for two tokens, the pieces of its STREAMS matrices; sum number n is over stream n of these, or over the only one.
template <int IN, int OUT, typename Read>
__device__ __forceinline__ void pass(const Read &read, const Weight *weights, const T *const *lows, const Parts &p) {
    extern __shared__ uint4 shared[];
    // Of each thread in each stage: what it reads, and afterwards its inner sums.
    const int SLOTS = IN > Read::TENSORS ? 2 * IN : 2 * Read::TENSORS;
    const u32 warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, t = lane % 4, threads = blockDim.x;
    const u32 column = (blockIdx.x * (threads / 32) + warp) * WIDTH;
    const u32 warps = min(threads / 32, (p.columns - blockIdx.x * threads) / WIDTH);
    const u32 begin = blockIdx.y * p.each, end = min(begin + p.each, p.tokens), tiles = (p.tokens + TOKENS - 1) / TOKENS;
    const bool active = column < p.columns;

    uint2 *kept = (uint2 *)(shared + p.stages * SLOTS * threads) + warp * (IN * 128);
    if (active)
#pragma unroll
        for (int n = 0; n < IN; n++) weights[n].keep(kept + n * 128, column, p.rank);
    __syncwarp();

    auto fetch = [&](u32 top, u32 stage) {
        if (active && top < end)
#pragma unroll
            for (int part = 0; part < 2 * Read::TENSORS; part++) {
                const u32 token = top + g + part % 2 * 8;
                copy16(shared + (stage * SLOTS + part) * threads + threadIdx.x,
                       read.from[part / 2] + (u64)min(token, end - 1) * p.columns + column + 8 * t, token < end);
            }
        commit();
    };
    for (u32 stage = 0; stage < p.stages; stage++) fetch(begin + stage * TOKENS, stage);

    float outers[OUT > 0 ? OUT : 1][4][4] = {};
    u32 stage = 0;
    for (u32 top = begin; top < end; top += TOKENS) {
        if (p.stages == 4) wait<3>();
        else if (p.stages == 2) wait<1>();
        else wait<0>();
        uint4 *here = shared + stage * SLOTS * threads;
        if (active) {
            Piece x[Read::STREAMS];
            read.make(x, here + threadIdx.x, threads, column, top, end, p);
#pragma unroll
            for (int n = 0; n < IN; n++) {
                float c[2][4] = {};
                inner(c, x[n % Read::STREAMS], kept + n * 128);
#pragma unroll
                for (int k = 0; k < 2; k++)
                    *(float4 *)(here + (2 * n + k) * threads + threadIdx.x) = make_float4(c[k][0], c[k][1], c[k][2], c[k][3]);
            }
#pragma unroll
            for (int n = 0; n < OUT; n++) outer(outers[n], x[n % Read::STREAMS], lows[n], top, end, p.rank);
        }
        if (IN > 0) {
            __syncthreads();
            for (u32 i = threadIdx.x; i < IN * SUMS; i += threads) {
                const float *left = (const float *)(here + i / 128 * threads) + i % 128;
                float sum = 0.0f;
                for (u32 of = 0; of < warps; of++) sum += left[of * 128];
                p.inners[((u64)(i / SUMS * gridDim.x + blockIdx.x) * tiles + top / TOKENS) * SUMS + i % SUMS] = sum;
            }
            __syncthreads();
        }
        fetch(top + p.stages * TOKENS, stage);
        stage = stage + 1 == p.stages ? 0 : stage + 1;
    }
    if (active)
#pragma unroll
        for (int n = 0; n < OUT; n++)
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float x[8];
#pragma unroll
                for (int i = 0; i < 8; i++) x[i] = outers[n][i / 2][2 * half + i % 2];
                const u64 row = (u64)(n * gridDim.y + blockIdx.y) * RANK + g + 8 * half;
                store8(p.outers + row * p.columns + column + 8 * t, x);
            }
}

// X as it is.
struct Plain {
    static const int TENSORS = 1, STREAMS = 1;
    const T *from[1];
    __device__ void make(Piece (&x)[1], const uint4 *here, u32 apart, u32, u32, u32, const Parts &) const {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const uint4 v = here[half * apart];
            x[0].word[half][0] = v.x, x[0].word[half][1] = v.y, x[0].word[half][2] = v.z, x[0].word[half][3] = v.w;
        }
    }
};

// What a thread has read of a tensor.
__device__ __forceinline__ Piece read(const uint4 *here, u32 apart) {
    Piece x[1];
    Plain{}.make(x, here, apart, 0, 0, 0, {});
    return x[0];
}
// Writes a piece of a matrix like X, but for tokens from `end` on.
__device__ __forceinline__ void write(T *to, const Piece &x, u32 column, u32 top, u32 end, u32 columns) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const u32 token = top + g + 8 * half;
        const auto &v = x.word[half];
        if (token < end) *(uint4 *)(to + (u64)token * columns + column + 8 * t) = make_uint4(v[0], v[1], v[2], v[3]);
    }
}
__device__ __forceinline__ float2 floats(u32 two) { return {to_float(T{(u16)two}), to_float(T{(u16)(two >> 16)})}; }

// What an adapter adds to the output of its layer: scale (x Aᵀ) Bᵀ, from B [columns, rank].
struct Added {
    const T *b, *low;
    float scale;
    // The rows of x Aᵀ of 16 tokens.
    __device__ void rows(u32 (&a)[4], u32 top, u32 end, u32 rank) const {
        const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
#pragma unroll
        for (int part = 0; part < 4; part++) {
            const u32 token = top + g + part % 2 * 8, r = part / 2 * 8;
            a[part] = token < end && r < rank ? *(const u32 *)(low + (u64)token * rank + r + 2 * t) : 0;
        }
    }
    // Elements 2 i and 2 i + 1 of a thread: those of its first token, then those of its second.
    __device__ void elements(float (&c)[4], const u32 (&a)[4], int i, u32 column, u32 rank) const {
        const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
        const T *row = b + (u64)(column + 8 * (g / 2) + 2 * i + g % 2) * rank + 2 * t;
        const u32 right[2] = {*(const u32 *)row, rank > 8 ? *(const u32 *)(row + 8) : 0};
        multiply<T>(c, a, right);
    }
};

// Gate and up, with what adapters add to them where ADDED.
template <bool ADDED> struct Gated {
    Added gate, up;
    // Calls `each(half, i, gate, up)` with two neighbours of both.
    template <typename F>
    __device__ void operator()(const Piece &g, const Piece &u, u32 column, u32 top, u32 end, u32 rank, F each) const {
        u32 a[2][4];
        if (ADDED) gate.rows(a[0], top, end, rank), up.rows(a[1], top, end, rank);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float c[2][4] = {};
            if (ADDED) gate.elements(c[0], a[0], i, column, rank), up.elements(c[1], a[1], i, column, rank);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                float2 x = floats(g.word[half][i]), y = floats(u.word[half][i]);
                if (ADDED) {
                    x.x += gate.scale * c[0][2 * half], x.y += gate.scale * c[0][2 * half + 1];
                    y.x += up.scale * c[1][2 * half], y.y += up.scale * c[1][2 * half + 1];
                }
                each(half, i, x, y);
            }
        }
    }
};

// silu(gate) * up, which is written to `product`.
struct Swiglu {
    static const int TENSORS = 2, STREAMS = 1;
    const T *from[2];
    Gated<true> gated;
    T *product;
    __device__ void make(Piece (&x)[1], const uint4 *here, u32 apart, u32 column, u32 top, u32 end, const Parts &p) const {
        const Piece g = read(here, apart), u = read(here + 2 * apart, apart);
        gated(g, u, column, top, end, p.rank, [&](int half, int i, float2 a, float2 b) {
            x[0].word[half][i] = pack<T>(a.x / (1.0f + __expf(-a.x)) * b.x, a.y / (1.0f + __expf(-a.y)) * b.y);
        });
        write(product, x[0], column, top, end, p.columns);
    }
};

// The gradients of silu(gate) * up, which are written over gate and up, and the product itself.
template <bool ADDED> struct SwigluBackward {
    static const int TENSORS = 3, STREAMS = 3;
    const T *from[3];
    Gated<ADDED> gated;
    T *gate, *up;
    __device__ void make(Piece (&x)[3], const uint4 *here, u32 apart, u32 column, u32 top, u32 end, const Parts &p) const {
        const Piece g = read(here, apart), u = read(here + 2 * apart, apart), grad = read(here + 4 * apart, apart);
        gated(g, u, column, top, end, p.rank, [&](int half, int i, float2 a, float2 b) {
            const float2 d = floats(grad.word[half][i]);
            const float2 s = {1.0f / (1.0f + __expf(-a.x)), 1.0f / (1.0f + __expf(-a.y))}, silu = {a.x * s.x, a.y * s.y};
            x[0].word[half][i] = pack<T>(d.x * b.x * s.x * (1.0f + a.x * (1.0f - s.x)),
                                         d.y * b.y * s.y * (1.0f + a.y * (1.0f - s.y)));
            x[1].word[half][i] = pack<T>(d.x * silu.x, d.y * silu.y);
            x[2].word[half][i] = pack<T>(silu.x * b.x, silu.y * b.y);
        });
        write(gate, x[0], column, top, end, p.columns), write(up, x[1], column, top, end, p.columns);
    }
};

// Of an adapter's output: that of its B [columns, rank], inner with B and outer with x Aᵀ.
extern "C" __global__ __launch_bounds__(512, 1) void output_backward(float *inners, float *outers, const T *g, const T *b,
                                                                     const T *low, u32 tokens, u32 columns, u32 rank,
                                                                     u32 each, u32 stages) {
    const Weight weights[1] = {{b, rank, 1}};
    const T *lows[1] = {low};
    pass<1, 1>(Plain{{g}}, weights, lows, {inners, outers, tokens, columns, rank, each, stages});
}

// Of adapters that read one x: x Aᵀ for each of them.
template <int N> __device__ __forceinline__ void inputs(const T *x, const T *const *a, Parts p) {
    const Weight weights[3] = {{a[0], 1, p.columns}, {a[1], 1, p.columns}, {a[2], 1, p.columns}};
    pass<N, 0>(Plain{{x}}, weights, nullptr, p);
}
#define INPUTS(N)                                                                                                     \
    extern "C" __global__ __launch_bounds__(512, 2) void inputs_##N(float *inners, const T *x, const T *a0,           \
                                                                    const T *a1, const T *a2, u32 tokens,             \
                                                                    u32 columns, u32 rank, u32 each, u32 stages) {    \
        const T *a[3] = {a0, a1, a2};                                                                                 \
        inputs<N>(x, a, {inners, nullptr, tokens, columns, rank, each, stages});                                      \
    }                                                                                                                 \
    /* The gradients of their A [rank, columns], from those of x Aᵀ. */                                               \
    extern "C" __global__ __launch_bounds__(512, 1) void inputs_backward_##N(float *outers, const T *x, const T *g0,  \
                                                                             const T *g1, const T *g2, u32 tokens,    \
                                                                             u32 columns, u32 rank, u32 each,         \
                                                                             u32 stages) {                            \
        const T *lows[3] = {g0, g1, g2};                                                                              \
        pass<0, N>(Plain{{x}}, nullptr, lows, {nullptr, outers, tokens, columns, rank, each, stages});                \
    }
INPUTS(2)
INPUTS(3)

// Of an MLP whose gate and up come without what their adapters add: silu(gate) * up, inner with down's A [rank, columns].
extern "C" __global__ __launch_bounds__(512, 1) void swiglu_added(
    T *product, float *inners, const T *gate, const T *up, const T *b_gate, const T *low_gate, const T *b_up,
    const T *low_up, const T *a_down, u32 tokens, u32 columns, u32 rank, u32 each, u32 stages, float gate_scale,
    float up_scale) {
    const Weight weights[1] = {{a_down, 1, columns}};
    const Gated<true> gated{{b_gate, low_gate, gate_scale}, {b_up, low_up, up_scale}};
    pass<1, 0>(Swiglu{{gate, up}, gated, product}, weights, nullptr,
               {inners, nullptr, tokens, columns, rank, each, stages});
}

// Of an MLP: the gradients of silu(gate) * up over gate and up, from `grad` of the product; and in the same reading what their adapters
// need of these, as `output_backward`, and what down's adapter needs of the product, its input: x Aᵀ, and A's gradient from that of x Aᵀ.
// Gate and up come with what their adapters add (`adapted`), or without (`added`).
#define SWIGLU_BACKWARD(NAME, ADDED)                                                                                  \
    extern "C" __global__ __launch_bounds__(512, 1) void swiglu_backward_##NAME(                                      \
        T *gate, T *up, float *inners, float *outers, const T *grad, const T *b_gate, const T *low_gate,              \
        const T *b_up, const T *low_up, const T *a_down, const T *g_low_down, u32 tokens, u32 columns, u32 rank,      \
        u32 each, u32 stages, float gate_scale, float up_scale) {                                                     \
        const Weight weights[3] = {{b_gate, rank, 1}, {b_up, rank, 1}, {a_down, 1, columns}};                         \
        const T *lows[3] = {low_gate, low_up, g_low_down};                                                            \
        const Gated<ADDED> gated{{b_gate, low_gate, gate_scale}, {b_up, low_up, up_scale}};                           \
        pass<3, 3>(SwigluBackward<ADDED>{{gate, up, grad}, gated, gate, up}, weights, lows,                           \
                   {inners, outers, tokens, columns, rank, each, stages});                                            \
    }
SWIGLU_BACKWARD(adapted, false)
SWIGLU_BACKWARD(added, true)

// Where number `i` of the inner sums of 16 tokens belongs: a token and an element of the rank.
__device__ __forceinline__ uint2 place_of(u32 i) {
    const u32 lane = i % 128 / 4, e = i % 4;
    return {lane / 4 + e / 2 * 8, i / 128 * 8 + lane % 4 * 2 + e % 2};
}

// Inner sums of up to three adapters, by blockIdx.y, times a scale each.
extern "C" __global__ void add_inners(T *to0, T *to1, T *to2, const float *inners, float scale0, float scale1, float scale2,
                                      u32 tokens, u32 rank, u32 parts) {
    const u32 n = blockIdx.y, tiles = (tokens + TOKENS - 1) / TOKENS;
    T *to = n == 0 ? to0 : n == 1 ? to1 : to2;
    const float scale = n == 0 ? scale0 : n == 1 ? scale1 : scale2;
    inners += (u64)n * parts * tiles * SUMS;
    for (u64 i = FLAT_START; i < (u64)tiles * SUMS; i += FLAT_STRIDE) {
        const uint2 at = place_of(i % SUMS);
        const u64 token = i / SUMS * TOKENS + at.x;
        if (token >= tokens || at.y >= rank) continue;
        float sum = 0.0f;
        for (u32 part = 0; part < parts; part++) sum += inners[(u64)part * tiles * SUMS + i];
        to[token * rank + at.y] = from_float<T>(sum * scale);
    }
}

// Outer sums of up to three adapters, by blockIdx.y, times a scale each, added to gradients: the first `turned` of B [columns, rank], those
// after them of A [rank, columns].
#define ADD_OUTERS(NAME, G)                                                                                           \
    extern "C" __global__ void add_outers_##NAME(G *to0, G *to1, G *to2, const float *outers, float scale0,           \
                                                 float scale1, float scale2, u32 columns, u32 rank, u32 splits,       \
                                                 u32 turned) {                                                        \
        const u32 n = blockIdx.y;                                                                                     \
        G *to = n == 0 ? to0 : n == 1 ? to1 : to2;                                                                    \
        const float scale = n == 0 ? scale0 : n == 1 ? scale1 : scale2;                                               \
        outers += (u64)n * splits * RANK * columns;                                                                   \
        for (u64 i = FLAT_START; i < (u64)rank * columns; i += FLAT_STRIDE) {                                         \
            float sum = 0.0f;                                                                                         \
            for (u32 split = 0; split < splits; split++) sum += outers[(u64)split * RANK * columns + i];              \
            add_to(to[n < turned ? i % columns * rank + i / columns : i], sum * scale);                               \
        }                                                                                                             \
    }
ADD_OUTERS(f32, float)
ADD_OUTERS(bf16, bf16)
