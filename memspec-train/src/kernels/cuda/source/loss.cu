// Cross entropy over rows of logits, one block a row. The logits become their gradient times `scale`, when that is not 0.

template <int V, typename T>
__device__ void cross_entropy(T *logits, const int *targets, float *losses, u32 vocabulary, float scale) {
    logits += (u64)blockIdx.x * vocabulary;
    int target = targets[blockIdx.x];
    if (target < 0) {
        // Not scored: no loss, no gradient.
        if (scale != 0.0f)
            for (u32 i = threadIdx.x; i < vocabulary; i += blockDim.x) logits[i] = from_float<T>(0.0f);
        if (threadIdx.x == 0) losses[blockIdx.x] = 0.0f;
        return;
    }
    // Largest and sum in one pass: a thread's own sum is corrected whenever its largest grows.
    float largest = -3.0e38f, sum = 0.0f;
    for (u32 i = threadIdx.x * V; i < vocabulary; i += blockDim.x * V) {
        float a[V];
        load<V>(logits + i, a);
        float here = a[0];
#pragma unroll
        for (int k = 1; k < V; k++) here = fmaxf(here, a[k]);
        if (here > largest) sum *= __expf(largest - here), largest = here;
#pragma unroll
        for (int k = 0; k < V; k++) sum += __expf(a[k] - largest);
    }
    float most = block_max(largest);
    sum = block_sum(sum * __expf(largest - most));
    if (threadIdx.x == 0) losses[blockIdx.x] = most + logf(sum) - to_float(logits[target]);
    if (scale == 0.0f) return;
    __syncthreads();
    float factor = scale / sum;
    for (u32 i = threadIdx.x * V; i < vocabulary; i += blockDim.x * V) {
        float a[V];
        load<V>(logits + i, a);
#pragma unroll
        for (int k = 0; k < V; k++) a[k] = factor * __expf(a[k] - most) - (i + k == target ? scale : 0.0f);
        store<V>(logits + i, a);
    }
}

#define KERNELS(NAME, T)                                                                                              \
    extern "C" __global__ void cross_entropy_##NAME(T *logits, const int *targets, float *losses, u32 vocabulary,     \
                                                    float scale) {                                                    \
        if (vocabulary % 8 == 0) cross_entropy<8>(logits, targets, losses, vocabulary, scale);                        \
        else cross_entropy<1>(logits, targets, losses, vocabulary, scale);                                            \
    }
FOR_EACH(KERNELS)

// The sum of all losses times `scale`, by one block, always in the same order.
extern "C" __global__ void sum_losses(float *out, const float *losses, u32 n, float scale) {
    double sum = 0.0;
    for (u32 i = threadIdx.x; i < n; i += blockDim.x) sum += losses[i];
    __shared__ double sums[1024];
    sums[threadIdx.x] = sum;
    for (u32 half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) *out = (float)(sums[0] * scale);
}
