// What every file of kernels begins with. No header is included: NVRTC needs nothing but these texts.
//
// Activations and frozen weights are T: float, bf16 or f16; arithmetic is in float. A vector access moves eight elements.

#define INFINITY __int_as_float(0x7f800000)

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

struct bf16 {
    u16 bits;
};
struct f16 {
    u16 bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float((u32)x.bits << 16); }
__device__ __forceinline__ float to_float(f16 x) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
}

template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bf16 from_float<bf16>(float x) {
    bf16 y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}
// What is too large becomes infinite, so that an overflow is seen wherever it happens.
template <> __device__ __forceinline__ f16 from_float<f16>(float x) {
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
}

// Two floats as two elements of 16 bits in one register, the first in the low half.
template <typename T> __device__ __forceinline__ u32 pack(float low, float high);
template <> __device__ __forceinline__ u32 pack<bf16>(float low, float high) {
    u32 both;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}
template <> __device__ __forceinline__ u32 pack<f16>(float low, float high) {
    u32 both;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    return both;
}

// Eight neighbours, from an address that is a multiple of their size.
__device__ __forceinline__ void load8(const float *from, float (&x)[8]) {
    float4 a = ((const float4 *)from)[0], b = ((const float4 *)from)[1];
    x[0] = a.x, x[1] = a.y, x[2] = a.z, x[3] = a.w, x[4] = b.x, x[5] = b.y, x[6] = b.z, x[7] = b.w;
}
__device__ __forceinline__ void load8(const bf16 *from, float (&x)[8]) {
    uint4 v = *(const uint4 *)from;
    u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = __uint_as_float(words[i] << 16);
        x[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
    }
}
__device__ __forceinline__ void load8(const f16 *from, float (&x)[8]) {
    uint4 v = *(const uint4 *)from;
    u32 words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++) {
        x[2 * i] = to_float(f16{(u16)words[i]});
        x[2 * i + 1] = to_float(f16{(u16)(words[i] >> 16)});
    }
}
__device__ __forceinline__ void store8(float *to, const float (&x)[8]) {
    ((float4 *)to)[0] = make_float4(x[0], x[1], x[2], x[3]);
    ((float4 *)to)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
template <typename T> __device__ __forceinline__ void store8(T *to, const float (&x)[8]) {
    *(uint4 *)to = make_uint4(pack<T>(x[0], x[1]), pack<T>(x[2], x[3]), pack<T>(x[4], x[5]), pack<T>(x[6], x[7]));
}

// V elements, 8 or 1.
template <int V, typename T> __device__ __forceinline__ void load(const T *from, float (&x)[V]) {
    if constexpr (V == 8) load8(from, x);
    else x[0] = to_float(*from);
}
template <int V, typename T> __device__ __forceinline__ void store(T *to, const float (&x)[V]) {
    if constexpr (V == 8) store8(to, x);
    else *to = from_float<T>(x[0]);
}

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    return x;
}
__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, lane));
    return x;
}

// The sum over a block of at most 1024 threads, in every thread. The order of additions is always the same.
__device__ __forceinline__ float block_sum(float x) {
    __shared__ float sums[32];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_sum(threadIdx.x % 32 < blockDim.x / 32 ? sums[threadIdx.x % 32] : 0.0f);
}
__device__ __forceinline__ float block_max(float x) {
    __shared__ float most[32];
    x = warp_max(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = x;
    __syncthreads();
    return warp_max(threadIdx.x % 32 < blockDim.x / 32 ? most[threadIdx.x % 32] : -3.0e38f);
}

// The element this thread begins with in a flat loop, and how far the next one is.
#define FLAT_START ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define FLAT_STRIDE ((u64)gridDim.x * blockDim.x)

// The versions of a kernel: NAME_f32, NAME_bf16 and NAME_f16.
#define FOR_EACH(KERNEL) KERNEL(f32, float) KERNEL(bf16, bf16) KERNEL(f16, f16)
// Those of a kernel that adds to the gradient of a weight, whose type comes last: float, or bf16 where all that is trained is bf16.
#define FOR_EACH_GRADIENT(KERNEL)                                                                                     \
    KERNEL(f32, float, float) KERNEL(bf16, bf16, float) KERNEL(f16, f16, float) KERNEL(bf16_pure, bf16, bf16)

// to += x, rounded once.
template <typename G> __device__ __forceinline__ void add_to(G &to, float x) { to = from_float<G>(to_float(to) + x); }
