// What packed weights are decoded with. NF4 and DYNAMIC, what codes stand for, are written before this text from `quantize/`.

// The scale of a block of 64 weights.
struct Plain {
    const float *absmax;
    __device__ float operator()(u64 block) const { return absmax[block]; }
};
struct Double {
    const u8 *codes;
    const float *scales;
    // In shared memory.
    const float *map;
    float offset;
    __device__ float operator()(u64 block) const { return map[codes[block]] * scales[block / 256] + offset; }
};

// A copy of NF4 for each lane, in its own bank: whatever the codes are, no lane waits for another. Before a barrier.
#define TABLES                                                                                                        \
    __shared__ float tables[16][32];                                                                                  \
    for (u32 i = threadIdx.x; i < 16 * 32; i += blockDim.x) tables[i / 32][i % 32] = NF4[i / 32];
// DYNAMIC for `Double`. Before a barrier.
#define MAP                                                                                                           \
    __shared__ float map[256];                                                                                        \
    for (u32 i = threadIdx.x; i < 256; i += blockDim.x) map[i] = DYNAMIC[i];
