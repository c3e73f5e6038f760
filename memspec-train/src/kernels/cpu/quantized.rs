//! Rows of packed weights, dense for a moment.

use burn::backend::Flex;
use gemm::Parallelism;
use rayon::prelude::*;

use super::matrix::{Target, View, multiply};
use super::{elements, elements_mut, matrix_shape, row_grain};
use crate::kernels::storage::{F32, unfilled};
use crate::kernels::{Packed, RowsOf};
use crate::quantize::{dynamic_map, int8, nf4};

/// See [`crate::kernels::Kernels::packed_rows`].
pub(super) fn rows_of(weight: &Packed<Flex>, rows: RowsOf) -> F32 {
    match weight {
        Packed::Nf4 { codes, absmax } => {
            let (codes, absmax) = (codes.bytes(), nf4::AbsMax::Plain(elements(absmax)));
            decode(rows, |start, out| nf4::decode(codes, absmax, start, out))
        }
        Packed::Nf4Double { codes, absmax, scales, offset } => {
            let (codes, scales, map) = (codes.bytes(), elements(scales), &dynamic_map::SIGNED);
            let absmax = nf4::AbsMax::Double { codes: absmax.bytes(), scales, offset: *offset, map };
            decode(rows, |start, out| nf4::decode(codes, absmax, start, out))
        }
        Packed::Int8 { codes, scales } => {
            let (codes, scales): (&[i8], _) = (bytemuck::cast_slice(codes.bytes()), elements(scales));
            decode(rows, |start, out| int8::decode(codes, scales, rows.columns, start, out))
        }
    }
}

/// Decodes rows in parallel: `decode(first element, out)`.
fn decode(RowsOf { first, rows, columns }: RowsOf, decode: impl Fn(usize, &mut [f32]) + Sync) -> F32 {
    let mut out = unfilled([rows, columns]);
    let part = row_grain(columns) * columns;
    elements_mut(&mut out)
        .par_chunks_mut(part)
        .enumerate()
        .for_each(|(index, out)| decode(first * columns + index * part, out));
    out
}

/// Rows of a weight plus the same rows of `scale b a`.
pub(super) fn add_adapter(mut dense: F32, b: &F32, a: &F32, scale: f32, rows: RowsOf) -> F32 {
    let RowsOf { first, rows, columns } = rows;
    let (_, rank) = matrix_shape(b);
    let b = View::new(&elements(b)[first * rank..], rows, rank, rank);
    let a = View::new(elements(a), rank, columns, columns);
    // SAFETY: the elements of a tensor of `rows x columns` that has one owner.
    let target = unsafe { Target::new(elements_mut(&mut dense).as_mut_ptr(), columns) };
    multiply(target, b, a, scale, 1.0, Parallelism::Rayon(0));
    dense
}
