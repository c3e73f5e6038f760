// Packed weights plus an adapter: W + scale B A, added in float before the weight is rounded, so that one product serves both. After
// `packed.cuh` and `tensor_core.cuh`. B [rows of W, rank] and A [rank, columns] are of type ELEMENT, bf16 or f16; the rank is a multiple of
// 8 up to RANK, which is 16, 32 or 64, and the columns are one of 64.

// Eight neighbours of a row: those from `element`, a multiple of 8, counted from the weight's first. First loaded, then decoded.
template <typename S> struct Nf4Row {
    const u8 *codes;
    S scale;
    // In shared memory: see TABLES.
    const float (*tables)[32];
    struct Packed {
        u32 word;
        float scale;
    };
    __device__ Packed load(u64 element) const { return {*(const u32 *)(codes + element / 2), scale(element / 64)}; }
    __device__ void decode(Packed from, float (&x)[8]) const {
        const u32 lane = threadIdx.x % 32;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            u32 byte = from.word >> (8 * k) & 255;
            x[2 * k] = tables[byte >> 4][lane] * from.scale;
            x[2 * k + 1] = tables[byte & 15][lane] * from.scale;
        }
    }
};
struct Int8Row {
    const signed char *codes;
    const float *scales;
    u32 columns;
    struct Packed {
        uint2 word;
        float scale;
    };
    __device__ Packed load(u64 element) const {
        return {*(const uint2 *)(codes + element), scales[element / columns]};
    }
    __device__ void decode(Packed from, float (&x)[8]) const {
#pragma unroll
        for (int k = 0; k < 8; k++) x[k] = (signed char)((k < 4 ? from.word.x : from.word.y) >> (k % 4 * 8)) * from.scale;
    }
};

// A warp has 64 columns, 32 H at a time, and `each` rows, 16 at a time. In a tile of eight columns of the product, those of a thread are
// chosen such that its four tiles are eight neighbours: column 8 (n / 2) + 2 j + n % 2 of 32 is number n of tile j. The rank is at most 16 K.
template <int K, int H, typename T, typename Row>
__device__ __forceinline__ void adapted(T *out, const Row &row_of, const T *b, const T *a, float scale, u32 first,
                                        u32 rows, u32 columns, u32 rank, u32 each) {
    const u32 lane = threadIdx.x % 32, g = lane / 4, t = lane % 4;
    const u32 begin = (blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32) * 64, end = min(rows, (blockIdx.y + 1) * each);
    for (u32 column = begin; column < min(begin + 64, columns); column += 32 * H) {
        u32 right[H][4][K][2];
#pragma unroll
        for (int h = 0; h < H; h++)
#pragma unroll
            for (int j = 0; j < 4; j++)
#pragma unroll
                for (int k = 0; k < 2 * K; k++) {
                    const u32 at = column + 32 * h + 8 * (g / 2) + 2 * j + g % 2, r = 8 * k + 2 * t;
                    right[h][j][k / 2][k % 2] =
                        8 * k < rank ? a[(u64)r * columns + at].bits | (u32)a[(u64)(r + 1) * columns + at].bits << 16 : 0;
                }
        for (u32 top = blockIdx.y * each; top < end; top += 16) {
            typename Row::Packed packed[H][2];
            u32 left[K][4];
#pragma unroll
            for (int low = 0; low < 2; low++) {
                // Rows after the last one are as the last one, and not written.
                const u32 row = first + min(top + g + 8 * low, rows - 1);
#pragma unroll
                for (int h = 0; h < H; h++) packed[h][low] = row_of.load((u64)row * columns + column + 32 * h + 8 * t);
#pragma unroll
                for (int k = 0; k < 2 * K; k++)
                    left[k / 2][k % 2 * 2 + low] =
                        8 * k < rank ? *(const u32 *)(b + (u64)row * rank + 8 * k + 2 * t) : 0;
            }
#pragma unroll
            for (int h = 0; h < H; h++) {
                float c[4][4] = {};
#pragma unroll
                for (int j = 0; j < 4; j++)
#pragma unroll
                    for (int k = 0; k < K; k++) multiply<T>(c[j], left[k], right[h][j][k]);
#pragma unroll
                for (int low = 0; low < 2; low++) {
                    const u32 row = top + g + 8 * low;
                    float x[8];
                    row_of.decode(packed[h][low], x);
#pragma unroll
                    for (int i = 0; i < 8; i++) x[i] += scale * c[i / 2][2 * low + i % 2];
                    if (row < rows) store8(out + (u64)row * columns + column + 32 * h + 8 * t, x);
                }
            }
        }
    }
}

// What a rank needs of registers says how many blocks run at a time, and that the columns of a warp are halved.
#define HALVES (RANK == 64 ? 1 : 2)
#define BLOCKS (RANK == 16 ? 4 : RANK == 32 ? 3 : 2)
typedef ELEMENT T;

extern "C" __global__ __launch_bounds__(256, BLOCKS) void nf4_adapted(T *out, const u8 *codes, const float *absmax,
                                                                      const T *b, const T *a, float scale, u32 first,
                                                                      u32 rows, u32 columns, u32 rank, u32 each) {
    TABLES;
    __syncthreads();
    Nf4Row<Plain> row_of{codes, {absmax}, tables};
    adapted<RANK / 16, HALVES>(out, row_of, b, a, scale, first, rows, columns, rank, each);
}
extern "C" __global__ __launch_bounds__(256, BLOCKS) void nf4_double_adapted(
    T *out, const u8 *codes, const u8 *absmax, const float *scales, const T *b, const T *a, float offset, float scale,
    u32 first, u32 rows, u32 columns, u32 rank, u32 each) {
    TABLES;
    MAP;
    __syncthreads();
    Nf4Row<Double> row_of{codes, {absmax, scales, map, offset}, tables};
    adapted<RANK / 16, HALVES>(out, row_of, b, a, scale, first, rows, columns, rank, each);
}
extern "C" __global__ __launch_bounds__(256, BLOCKS) void int8_adapted(T *out, const signed char *codes,
                                                                       const float *scales, const T *b, const T *a,
                                                                       float scale, u32 first, u32 rows, u32 columns,
                                                                       u32 rank, u32 each) {
    adapted<RANK / 16, HALVES>(out, Int8Row{codes, scales, columns}, b, a, scale, first, rows, columns, rank, each);
}
