// CUDA C++ on the CPU, as far as the kernels that are tested here need it: `common.cuh` and `tensor_core.cuh` without PTX. A thread of a
// block is a context of its own that runs until it has to wait for others. It shows whether a kernel's arithmetic, addresses and barriers are
// right; nothing of speed.
#pragma once
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <queue>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct bf16 {
    u16 bits;
};
struct alignas(8) uint2 {
    u32 x, y;
};
struct alignas(16) uint4 {
    u32 x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct dim {
    u32 x = 1, y = 1;
};
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline u32 min(u32 a, u32 b) { return a < b ? a : b; }
inline float exponential(float x) { return expf(x); }
#define __expf exponential

// ---- common.cuh

inline float to_float(float x) { return x; }
inline float to_float(bf16 x) {
    u32 bits = (u32)x.bits << 16;
    float y;
    memcpy(&y, &bits, 4);
    return y;
}
template <typename T> T from_float(float x);
template <> inline float from_float<float>(float x) { return x; }
template <> inline bf16 from_float<bf16>(float x) {
    u32 bits;
    memcpy(&bits, &x, 4);
    return {(u16)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
template <typename T> u32 pack(float low, float high) {
    return from_float<T>(low).bits | (u32)from_float<T>(high).bits << 16;
}
template <typename T> void store8(T *to, const float (&x)[8]) {
    for (int i = 0; i < 8; i++) to[i] = from_float<T>(x[i]);
}
template <typename G> void add_to(G &to, float x) { to = from_float<G>(to_float(to) + x); }
#define FLAT_START ((u64)blockIdx.x * blockDim.x + threadIdx.x)
#define FLAT_STRIDE ((u64)gridDim.x * blockDim.x)

// ---- threads

inline dim threadIdx, blockIdx, blockDim, gridDim;
alignas(128) uint4 shared[227 << 6];

struct Copy {
    void *to;
    const void *from;
    bool there;
};
struct Thread {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done;
    std::vector<Copy> open;
    std::queue<std::vector<Copy>> groups;
};
struct Warp {
    u64 turn = 0;
    u32 arrived = 0;
    u32 words[2][32][6];
};
inline std::vector<Thread> threads;
inline std::vector<Warp> warps;
inline ucontext_t scheduler;
inline u64 block_turn;
inline u32 block_arrived;
inline std::function<void()> body;

inline void others() { swapcontext(&threads[threadIdx.x].context, &scheduler); }
inline void __syncthreads() {
    const u64 turn = block_turn;
    if (++block_arrived == blockDim.x) block_arrived = 0, block_turn++;
    else
        while (block_turn == turn) others();
}
// What each lane of the warp gives, in every lane.
inline u32 (*exchange(const std::vector<u32> &words))[6] {
    Warp &warp = warps[threadIdx.x / 32];
    const u64 turn = warp.turn;
    memcpy(warp.words[turn % 2][threadIdx.x % 32], words.data(), 4 * words.size());
    if (++warp.arrived == 32) warp.arrived = 0, warp.turn++;
    else
        while (warp.turn == turn) others();
    return warp.words[turn % 2];
}
inline void __syncwarp() { exchange({}); }

// ---- tensor_core.cuh: where a fragment's elements are is in the PTX manual, "Matrix fragments for mma.m16n8k16" and "movmatrix"

inline float half_of(u32 word, int which) { return to_float(bf16{(u16)(word >> 16 * which)}); }
template <typename T> void multiply(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    const auto lanes = exchange({a[0], a[1], a[2], a[3], b[0], b[1]});
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int e = 0; e < 4; e++) {
        const int row = g + e / 2 * 8, column = 2 * t + e % 2;
        for (int k = 0; k < 16; k++)
            c[e] += half_of(lanes[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2) *
                    half_of(lanes[column * 4 + k % 8 / 2][4 + k / 8], k % 2);
    }
}
inline u32 transposed(u32 x) {
    const auto lanes = exchange({x});
    const int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    auto element = [&](int row, int column) { return lanes[row * 4 + column / 2][0] >> 16 * (column % 2) & 0xffff; };
    return element(2 * t, g) | element(2 * t + 1, g) << 16;
}
// A copy arrives when it is waited for, and not before.
inline void copy16(void *to, const void *from, bool there) { threads[threadIdx.x].open.push_back({to, from, there}); }
inline void commit() { threads[threadIdx.x].groups.push(std::move(threads[threadIdx.x].open)); }
template <int LEFT> void wait() {
    auto &groups = threads[threadIdx.x].groups;
    for (; groups.size() > LEFT; groups.pop())
        for (const Copy &copy : groups.front())
            if (copy.there) memcpy(copy.to, copy.from, 16);
            else memset(copy.to, 0, 16);
}

// ---- a launch

inline void run_thread() {
    body();
    threads[threadIdx.x].done = true;
    others();
}
// One block after another. Shared memory begins as NaNs, and the warps take their turns in another order each time.
inline void launch(dim grid, u32 size, std::function<void()> kernel) {
    const size_t stack = 64 << 10;
    gridDim = grid, blockDim = {size}, body = std::move(kernel);
    threads.resize(size);
    for (blockIdx.y = 0; blockIdx.y < grid.y; blockIdx.y++)
        for (blockIdx.x = 0; blockIdx.x < grid.x; blockIdx.x++) {
            memset(shared, 0xff, sizeof shared);
            warps.assign((size + 31) / 32, {});
            block_arrived = 0;
            for (Thread &thread : threads) {
                if (!thread.stack) thread.stack.reset(new char[stack]);
                thread.done = false, thread.open.clear(), thread.groups = {};
                getcontext(&thread.context);
                thread.context.uc_stack.ss_sp = thread.stack.get(), thread.context.uc_stack.ss_size = stack;
                makecontext(&thread.context, run_thread, 0);
            }
            for (u32 left = size, turns = 0; left > 0; turns++) {
                if (turns > 1000000) fprintf(stderr, "threads wait for each other for ever\n"), exit(1);
                const u32 first = rand() / 32 * 32;
                left = 0;
                for (u32 i = 0; i < size; i++) {
                    threadIdx.x = (first + i) % size;
                    if (threads[threadIdx.x].done) continue;
                    swapcontext(&scheduler, &threads[threadIdx.x].context);
                    left += !threads[threadIdx.x].done;
                }
            }
        }
}
