//! Rows of packed weights, dense for a moment, and with them what an adapter adds.

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use memspec::cost::engine::memspec::is_folded;

use super::gemm;
use super::launch::{Kernel, Number};
use super::tensor::{matrix_shape, unfilled};
use super::{typed, u32_of, u64_of};
use crate::kernels::compile::{Rank, Short, Source};
use crate::kernels::{Packed, Product, RowsOf};

/// See [`crate::kernels::Kernels::packed_rows`].
pub(super) fn rows_of(like: &CubeTensor, weight: &Packed<Cube>, rows: RowsOf) -> CubeTensor {
    let RowsOf { first, rows, columns } = rows;
    let out = unfilled(like, [rows, columns], like.dtype);
    let (first, n) = (u64_of(first * columns), u64_of(rows * columns));
    let kernel = |name, threads| Kernel::flat(Source::Quantized, name, threads);
    match weight {
        Packed::Nf4 { codes, absmax } => {
            kernel(typed!(like.dtype, "nf4"), rows * columns / 8).run([&out, codes, absmax], 1, [first, n]);
        }
        Packed::Nf4Double { codes, absmax, scales, offset } => {
            let numbers = [Number::F32(*offset), first, n];
            kernel(typed!(like.dtype, "nf4_double"), rows * columns / 8).run([&out, codes, absmax, scales], 1, numbers);
        }
        Packed::Int8 { codes, scales } => {
            let numbers = [first, n, u32_of(columns)];
            kernel(typed!(like.dtype, "int8"), rows * columns).run([&out, codes, scales], 1, numbers);
        }
    }
    out
}

/// Columns of a block of the kernels that add an adapter: 64 for each of its warps.
const COLUMNS: usize = 512;

/// See [`crate::kernels::Kernels::packed_rows_adapted`].
pub(super) fn adapted(weight: &Packed<Cube>, b: &CubeTensor, a: &CubeTensor, scale: f32, at: RowsOf) -> CubeTensor {
    let RowsOf { first, rows, columns } = at;
    let (all, rank) = matrix_shape(b);
    assert!(is_folded(rank as u64, columns as u64) && first + rows <= all, "an adapter of rank {rank} for {at:?}");
    if b.dtype == DType::F32 {
        let b = super::tensor::rows(b, first, rows);
        return gemm::product(rows_of(&b, weight, at), None, &b, a, Product::NN.times(scale).added());
    }
    let out = unfilled(b, [rows, columns], b.dtype);
    // Rows of a warp: as many as leave every multiprocessor some warps, since it reads its part of A once for all of them.
    let each: usize = if rows * columns < 8 << 20 { 32 } else { 64 };
    let short = if b.dtype == DType::F16 { Short::F16 } else { Short::Bf16 };
    let source = Source::Adapted(Rank::of(rank), short);
    let grid = (columns.div_ceil(COLUMNS) as u32, rows.div_ceil(each) as u32);
    let kernel = |name| Kernel { source, name, grid, threads: 256, shared: 0 };
    let [first, rows, columns, rank, each] = [first, rows, columns, rank, each].map(u32_of);
    let scale = Number::F32(scale);
    match weight {
        Packed::Nf4 { codes, absmax } => {
            let numbers = [scale, first, rows, columns, rank, each];
            kernel("nf4_adapted").run([&out, codes, absmax, b, a], 1, numbers);
        }
        Packed::Nf4Double { codes, absmax, scales, offset } => {
            let numbers = [Number::F32(*offset), scale, first, rows, columns, rank, each];
            kernel("nf4_double_adapted").run([&out, codes, absmax, scales, b, a], 1, numbers);
        }
        Packed::Int8 { codes, scales } => {
            let numbers = [scale, first, rows, columns, rank, each];
            kernel("int8_adapted").run([&out, codes, scales, b, a], 1, numbers);
        }
    }
    out
}
