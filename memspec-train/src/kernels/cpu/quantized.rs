//! Rows of packed weights, dense for a moment.

use rayon::prelude::*;

use super::{elements, elements_mut, row_grain};
use crate::kernels::DoubleQuantized;
use crate::kernels::storage::{F32, unfilled};
use crate::quantize::{dynamic_map, int8, nf4};

/// Decodes `rows` in parallel: `decode(first element, out)`.
fn decode(first: usize, rows: usize, columns: usize, decode: impl Fn(usize, &mut [f32]) + Sync) -> F32 {
    let mut out = unfilled([rows, columns]);
    let part = row_grain(columns) * columns;
    elements_mut(&mut out)
        .par_chunks_mut(part)
        .enumerate()
        .for_each(|(index, out)| decode(first * columns + index * part, out));
    out
}

pub(super) fn nf4_rows(absmax: &F32, codes: &F32, first: usize, rows: usize, columns: usize) -> F32 {
    let (absmax, codes) = (elements(absmax), codes.bytes());
    decode(first, rows, columns, |start, out| nf4::decode(codes, nf4::AbsMax::Plain(absmax), start, out))
}

pub(super) fn nf4_double_rows(
    scales: &F32,
    absmax: &F32,
    codes: &F32,
    double: DoubleQuantized,
    first: usize,
    rows: usize,
    columns: usize,
) -> F32 {
    let absmax = nf4::AbsMax::Double {
        codes: absmax.bytes(),
        scales: elements(scales),
        offset: double.offset,
        map: &dynamic_map::SIGNED,
    };
    let codes = codes.bytes();
    decode(first, rows, columns, |start, out| nf4::decode(codes, absmax, start, out))
}

pub(super) fn int8_rows(scales: &F32, codes: &F32, first: usize, rows: usize, columns: usize) -> F32 {
    let (scales, codes): (_, &[i8]) = (elements(scales), bytemuck::cast_slice(codes.bytes()));
    decode(first, rows, columns, |start, out| int8::decode(codes, scales, columns, start, out))
}
