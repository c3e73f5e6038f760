//! What DoRA needs beside products: norms of adapted rows, and outputs scaled to their magnitudes.

use rayon::prelude::*;

use super::{elements, elements_mut, matrix_shape, norm::dot, row_grain};
use crate::kernels::storage::F32;

pub(super) fn row_squares(mut squares: F32, x: &F32, first: usize) -> F32 {
    let (rows, columns) = matrix_shape(x);
    let to = &mut elements_mut(&mut squares)[first..first + rows];
    let grain = row_grain(columns);
    to.par_chunks_mut(grain).zip(elements(x).par_chunks(grain * columns)).for_each(|(to, x)| {
        for (to, row) in to.iter_mut().zip(x.chunks_exact(columns)) {
            *to = dot(row, row);
        }
    });
    squares
}

pub(super) fn adapted_norms(mut norms: F32, squares: &F32, inner: &F32, b: &F32, scale: f32) -> F32 {
    let (rank, outputs) = matrix_shape(inner);
    let (squares, inner, b) = (elements(squares), elements(inner), elements(b));
    let to = elements_mut(&mut norms);
    to.par_iter_mut().enumerate().with_min_len(row_grain(rank)).for_each(|(row, norm)| {
        let along: f32 = (0..rank).map(|r| b[row * rank + r] * inner[r * outputs + row]).sum();
        *norm = (2.0 * scale).mul_add(along, squares[row]).max(f32::MIN_POSITIVE).sqrt();
    });
    norms
}

pub(super) fn to_magnitude(mut x: F32, magnitude: &F32, norms: &F32, first: usize) -> F32 {
    let (_, columns) = matrix_shape(&x);
    let (magnitude, norms) = (&elements(magnitude)[first..], &elements(norms)[first..]);
    elements_mut(&mut x).par_chunks_mut(row_grain(columns) * columns).for_each(|part| {
        for row in part.chunks_exact_mut(columns) {
            for ((x, m), n) in row.iter_mut().zip(magnitude).zip(norms) {
                *x *= m / n;
            }
        }
    });
    x
}

/// Columns of one parallel task: their sums stay in the cache while it goes through all rows.
const COLUMNS: usize = 64;

pub(super) fn to_magnitude_backward(
    mut grad: F32,
    mut z: F32,
    g: &F32,
    magnitude: &F32,
    norms: &F32,
    first: usize,
) -> (F32, F32) {
    let (rows, columns) = matrix_shape(&z);
    let sums = &mut elements_mut(&mut grad)[first..first + columns];
    let (of_z, of_g, of_norms) = (elements(&z), elements(g), &elements(norms)[first..]);
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, to)| {
        let from = chunk * COLUMNS;
        let mut sums = [0f32; COLUMNS];
        for row in 0..rows {
            let at = row * columns + from;
            for ((sum, z), g) in sums.iter_mut().zip(&of_z[at..at + to.len()]).zip(&of_g[at..]) {
                *sum = z.mul_add(*g, *sum);
            }
        }
        for ((to, sum), norm) in to.iter_mut().zip(sums).zip(&of_norms[from..]) {
            *to += sum / norm;
        }
    });
    elements_mut(&mut z).copy_from_slice(elements(g));
    (grad, to_magnitude(z, magnitude, norms, first))
}
