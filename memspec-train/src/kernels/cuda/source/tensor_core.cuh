// Products on tensor cores and what goes with them, in PTX, for kernels that are not attention's. `tests/kernels/emulated.h` has the same in C++.

// c += a b: 16 x 16 by 16 x 8.
template <typename T> __device__ __forceinline__ void multiply(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]);
#define MULTIPLY(T)                                                                                                   \
    template <> __device__ __forceinline__ void multiply<T>(float (&c)[4], const u32 (&a)[4], const u32 (&b)[2]) {    \
        asm("mma.sync.aligned.m16n8k16.row.col.f32." #T "." #T ".f32 "                                                \
            "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                                                   \
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                          \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                                      \
    }
MULTIPLY(bf16)
MULTIPLY(f16)

// Copies in the background, each thread for itself: no barrier orders them, so the compiler has to know that memory changes.
__device__ __forceinline__ void commit() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> __device__ __forceinline__ void wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}
// 16 bytes, or zeros.
__device__ __forceinline__ void copy16(void *to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"((u32)__cvta_generic_to_shared(to)), "l"(from),
                 "r"(there ? 16 : 0)
                 : "memory");
}
// 8 x 8 elements of a warp, two a thread, with rows and columns exchanged.
__device__ __forceinline__ u32 transposed(u32 x) {
    u32 y;
    asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
    return y;
}
