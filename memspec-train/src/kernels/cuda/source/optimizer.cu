// Optimizer steps in place, in f32.

extern "C" __global__ void adamw(float *value, float *grad, float *first, float *second, u64 n, float rate,
                                 float beta1, float beta2, float epsilon, float decay, float correction1,
                                 float correction2, float scale) {
    for (u64 i = FLAT_START; i < n; i += FLAT_STRIDE) {
        float g = grad[i] * scale;
        float m = beta1 * first[i] + (1.0f - beta1) * g, v = beta2 * second[i] + (1.0f - beta2) * g * g;
        value[i] = value[i] * decay - rate * (m * correction1) / (sqrtf(v * correction2) + epsilon);
        grad[i] = 0.0f, first[i] = m, second[i] = v;
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
