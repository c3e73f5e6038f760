// Optimizer steps in place, computed in f32. Weights and their gradients are W: float, or bf16 where all that is trained is bf16.

// SIGNED and UNSIGNED, what codes of 8-bit moments stand for, are written before this text from `quantize/`.

// A trained tensor. `copy`, where it is given, is the same weight in 16 bits, which products read.
struct Trained {
    void *value, *grad;
    // The moments: numbers, or codes where the largest magnitudes of each STATE_BLOCK elements are given.
    void *first, *second;
    void *copy;
    u64 elements, first_block;
    // 1 where weight decay holds, 0 for norms and biases.
    u64 decays;
    float *first_largest, *second_largest;
};

#define STATE_BLOCK 256

// Elements of one block, which all belong to one tensor.
#define CHUNK 8192

// What of which tensor this block works on.
struct Part {
    Trained of;
    u64 begin, end;
    __device__ Part(const Trained *all, u32 count) {
        u32 low = 0, high = count;
        while (high - low > 1) {
            u32 middle = (low + high) / 2;
            if (all[middle].first_block <= blockIdx.x) low = middle;
            else high = middle;
        }
        of = all[low];
        begin = (blockIdx.x - of.first_block) * CHUNK;
        end = begin + CHUNK < of.elements ? begin + CHUNK : of.elements;
    }
};

// The sum of squares of each block's gradients: added up by another kernel, always in the same order.
template <typename W> __device__ void squares(float *sums, const Trained *all, u32 count) {
    Part part(all, count);
    const W *grad = (const W *)part.of.grad;
    float sum = 0.0f;
    for (u64 i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) sum += to_float(grad[i]) * to_float(grad[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}
extern "C" __global__ void squares_f32(float *sums, const Trained *all, u32 count) { squares<float>(sums, all, count); }
extern "C" __global__ void squares_bf16(float *sums, const Trained *all, u32 count) { squares<bf16>(sums, all, count); }

// What AdamW (Loshchilov and Hutter, 2019) computes with; C is the type of copies.
template <typename W, typename C> struct Step {
    float rate, beta1, beta2, epsilon, decay, correction1, correction2, scale;

    __device__ void operator()(const Trained &of, u64 i, float &m, float &v) const {
        W *value = (W *)of.value, *grad = (W *)of.grad;
        float g = to_float(grad[i]) * scale;
        m = beta1 * m + (1.0f - beta1) * g, v = beta2 * v + (1.0f - beta2) * g * g;
        float x = to_float(value[i]) * decay - rate * (m * correction1) / (sqrtf(v * correction2) + epsilon);
        grad[i] = from_float<W>(0.0f), value[i] = from_float<W>(x);
        if (of.copy) ((C *)of.copy)[i] = from_float<C>(x);
    }
};

// The code of the ascending map's value nearest to `x`; the lower of two that are equally near.
__device__ u8 nearest(const float *map, float x) {
    u32 code = 0, above = 255;
    while (code < above) {
        u32 middle = (code + above) / 2;
        if ((map[middle] + map[middle + 1]) / 2.0f < x) code = middle + 1;
        else above = middle;
    }
    return code;
}

__device__ float largest_of_warp(float x) {
    for (int apart = 16; apart > 0; apart /= 2) x = fmaxf(x, __shfl_xor_sync(~0u, x, apart));
    return x;
}

// Moments of 8 bits (Dettmers et al., 2022): a warp takes one block of theirs after the other, each lane eight elements.
template <typename S> __device__ void step_8bit(const Part &part, const S &step, const float *map1, const float *map2) {
    const Trained &of = part.of;
    u8 *first = (u8 *)of.first, *second = (u8 *)of.second;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (u64 begin = part.begin + warp * STATE_BLOCK; begin < part.end; begin += warps * STATE_BLOCK) {
        const u64 block = begin / STATE_BLOCK;
        const float scale1 = of.first_largest[block], scale2 = of.second_largest[block];
        float m[8], v[8], largest1 = 0.0f, largest2 = 0.0f;
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const u64 i = begin + 32 * k + lane;
            if (i < part.end) {
                m[k] = map1[first[i]] * scale1, v[k] = map2[second[i]] * scale2;
                step(of, i, m[k], v[k]);
                largest1 = fmaxf(largest1, fabsf(m[k])), largest2 = fmaxf(largest2, v[k]);
            }
        }
        largest1 = largest_of_warp(largest1), largest2 = largest_of_warp(largest2);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const u64 i = begin + 32 * k + lane;
            if (i < part.end) {
                // A block of zeros is one whatever its codes are.
                first[i] = largest1 > 0.0f ? nearest(map1, m[k] / largest1) : 0;
                second[i] = largest2 > 0.0f ? nearest(map2, v[k] / largest2) : 0;
            }
        }
        if (lane == 0) of.first_largest[block] = largest1, of.second_largest[block] = largest2;
    }
}

// Where `square` is given it is the squared norm of all gradients before they are multiplied with `scale`. Then the norm is clipped to
// `clip` (0: not) as torch.nn.utils.clip_grad_norm_ does; where it is no number, the gradients are zeroed and nothing else is changed.
// Moments that are no codes are M.
template <typename M, typename W, typename C>
__device__ void adamw(const Trained *all, const float *square, u32 count, Step<W, C> step, float clip) {
    __shared__ float map1[256], map2[256];
    Part part(all, count);
    const Trained &of = part.of;
    if (!of.decays) step.decay = 1.0f;
    if (square) {
        if (!(*square < INFINITY)) {
            W *grad = (W *)of.grad;
            for (u64 i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) grad[i] = from_float<W>(0.0f);
            return;
        }
        if (clip > 0.0f) step.scale *= fminf(1.0f, clip / (sqrtf(*square) * step.scale + 1e-6f));
    }
    // All threads of a block work on one tensor, and go the same way.
    if (of.first_largest) {
        for (u32 i = threadIdx.x; i < 256; i += blockDim.x) map1[i] = SIGNED[i], map2[i] = UNSIGNED[i];
        __syncthreads();
        step_8bit(part, step, map1, map2);
        return;
    }
    M *first = (M *)of.first, *second = (M *)of.second;
    for (u64 i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
        float m = to_float(first[i]), v = to_float(second[i]);
        step(of, i, m, v);
        first[i] = from_float<M>(m), second[i] = from_float<M>(v);
    }
}

// By the types of weights, of moments that are no codes, and of copies.
#define ADAMW(NAME, W, M, C)                                                                                          \
    extern "C" __global__ void adamw_##NAME(const Trained *all, const float *square, u32 count, float rate,           \
                                            float beta1, float beta2, float epsilon, float decay, float correction1,  \
                                            float correction2, float scale, float clip) {                             \
        adamw<M>(all, square, count,                                                                                  \
                 Step<W, C>{rate, beta1, beta2, epsilon, decay, correction1, correction2, scale}, clip);              \
    }
ADAMW(bf16, float, float, bf16)
ADAMW(f16, float, float, f16)
ADAMW(pure, bf16, bf16, bf16)
// The small tensors of 8-bit AdamW, whose moments are floats whatever the weights are.
ADAMW(pure_f32_moments, bf16, float, bf16)

template <typename W> __device__ void sgd(W *value, W *grad, u64 n, float rate, float decay, float scale) {
    for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) {
        value[i] = from_float<W>(to_float(value[i]) * decay - rate * scale * to_float(grad[i]));
        grad[i] = from_float<W>(0.0f);
    }
}

// out[index] = the sum of squares, by one block: always in the same order.
template <typename W> __device__ void sum_of_squares(float *out, const W *x, u64 n, u32 index) {
    float sum = 0.0f;
    for (u64 i = threadIdx.x; i < n / 8; i += blockDim.x) {
        float a[8];
        load8(x + 8 * i, a);
#pragma unroll
        for (int k = 0; k < 8; k++) sum += a[k] * a[k];
    }
    for (u64 i = n / 8 * 8 + threadIdx.x; i < n; i += blockDim.x) sum += to_float(x[i]) * to_float(x[i]);
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[index] = sum;
}

#define WHOLE(NAME, W)                                                                                                \
    extern "C" __global__ void sgd_##NAME(W *value, W *grad, u64 n, float rate, float decay, float scale) {           \
        sgd(value, grad, n, rate, decay, scale);                                                                      \
    }                                                                                                                 \
    extern "C" __global__ void sum_of_squares_##NAME(float *out, const W *x, u64 n, u32 index) {                      \
        sum_of_squares(out, x, n, index);                                                                             \
    }
WHOLE(f32, float)
WHOLE(bf16, bf16)
