// Products on tensor cores, for kernels that are not attention's.

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
