// Packed weights, dense for a moment. A thread decodes eight neighbours. After `packed.cuh`.

// Elements `first .. first + n`, both multiples of 8 but for the end. High nibbles come first.
template <typename T, typename S> __device__ void nf4(T *out, const u8 *codes, S scale, u64 first, u64 n) {
    TABLES;
    __syncthreads();
    const u32 lane = threadIdx.x % 32;
    auto value = [&](u32 code) { return tables[code][lane]; };
    for (u64 i = FLAT_START; i < n / 8; i += FLAT_STRIDE) {
        u64 element = first + 8 * i;
        u32 word = *(const u32 *)(codes + element / 2);
        float s = scale(element / 64), x[8];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            u32 byte = word >> (8 * k) & 255;
            x[2 * k] = value(byte >> 4) * s;
            x[2 * k + 1] = value(byte & 15) * s;
        }
        store8(out + 8 * i, x);
    }
    for (u64 i = n / 8 * 8 + FLAT_START; i < n; i += FLAT_STRIDE) {
        u64 element = first + i;
        u32 byte = codes[element / 2];
        out[i] = from_float<T>(value(element % 2 ? byte & 15 : byte >> 4) * scale(element / 64));
    }
}

#define KERNELS(NAME, T)                                                                                              \
    extern "C" __global__ void nf4_##NAME(T *out, const u8 *codes, const float *absmax, u64 first, u64 n) {           \
        nf4(out, codes, Plain{absmax}, first, n);                                                                     \
    }                                                                                                                 \
    extern "C" __global__ void nf4_double_##NAME(T *out, const u8 *codes, const u8 *absmax, const float *scales,      \
                                                 float offset, u64 first, u64 n) {                                    \
        MAP;                                                                                                          \
        nf4(out, codes, Double{absmax, scales, map, offset}, first, n);                                               \
    }                                                                                                                 \
    extern "C" __global__ void int8_##NAME(T *out, const signed char *codes, const float *scales, u64 first, u64 n,   \
                                           u32 columns) {                                                             \
        for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE)                                                             \
            out[i] = from_float<T>(codes[first + i] * scales[(first + i) / columns]);                                 \
    }
FOR_EACH(KERNELS)
