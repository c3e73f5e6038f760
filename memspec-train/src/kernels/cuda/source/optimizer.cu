// Optimizer steps in place, in f32.

// A trained tensor. `copy`, where it is given, is the same weight in bf16, which products read.
struct Trained {
    float *value, *grad, *first, *second;
    bf16 *copy;
    u64 elements, first_block;
    // 1 where weight decay holds, 0 for norms and biases.
    u64 decays;
};

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
extern "C" __global__ void squares(float *sums, const Trained *all, u32 count) {
    Part part(all, count);
    float sum = 0.0f;
    for (u64 i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) sum += part.of.grad[i] * part.of.grad[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// AdamW (Loshchilov and Hutter, 2019). Where `square` is given it is the squared norm of all gradients, which is clipped to `clip`
// as torch.nn.utils.clip_grad_norm_ does.
extern "C" __global__ void adamw(const Trained *all, const float *square, u32 count, float rate, float beta1, float beta2,
                                 float epsilon, float decay, float correction1, float correction2, float scale, float clip) {
    Part part(all, count);
    const Trained &of = part.of;
    if (!of.decays) decay = 1.0f;
    if (clip > 0.0f) scale *= fminf(1.0f, clip / (sqrtf(*square) + 1e-6f));
    for (u64 i = part.begin + threadIdx.x; i < part.end; i += blockDim.x) {
        float g = of.grad[i] * scale;
        float m = beta1 * of.first[i] + (1.0f - beta1) * g, v = beta2 * of.second[i] + (1.0f - beta2) * g * g;
        float x = of.value[i] * decay - rate * (m * correction1) / (sqrtf(v * correction2) + epsilon);
        of.grad[i] = 0.0f, of.first[i] = m, of.second[i] = v, of.value[i] = x;
        if (of.copy) of.copy[i] = from_float<bf16>(x);
    }
}

extern "C" __global__ void sgd(float *value, float *grad, u64 n, float rate, float decay, float scale) {
    for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) {
        value[i] = value[i] * decay - rate * scale * grad[i];
        grad[i] = 0.0f;
    }
}

// out[index] = the sum of squares, by one block: always in the same order.
extern "C" __global__ void sum_of_squares(float *out, const float *x, u64 n, u32 index) {
    float sum = 0.0f;
    for (u64 i = threadIdx.x; i < n / 4; i += blockDim.x) {
        float4 a = ((const float4 *)x)[i];
        sum += a.x * a.x + a.y * a.y + a.z * a.z + a.w * a.w;
    }
    for (u64 i = n / 4 * 4 + threadIdx.x; i < n; i += blockDim.x) sum += x[i] * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) out[index] = sum;
}
