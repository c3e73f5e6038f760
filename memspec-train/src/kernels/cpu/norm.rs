//! Root-mean-square layer normalization and its gradients.

use rayon::prelude::*;

use super::{elements, elements_mut, matrix_shape, row_grain};
use crate::kernels::storage::{F32, unfilled};

/// `1 / sqrt(mean(x²) + epsilon)` of one row.
#[inline(always)]
fn inverse_rms(row: &[f32], epsilon: f32) -> f32 {
    1.0 / (dot(row, row) / row.len() as f32 + epsilon).sqrt()
}

/// A dot product in 16 partial sums, which the compiler keeps in vector registers.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 16];
    let (a_whole, a_rest) = a.as_chunks::<16>();
    let (b_whole, b_rest) = b.as_chunks::<16>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for lane in 0..16 {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    sums.iter().sum::<f32>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

pub(super) fn forward(x: &F32, weight: &F32, epsilon: f32) -> F32 {
    let (_, width) = matrix_shape(x);
    let weight = elements(weight);
    let mut out = unfilled(x.layout().shape().clone());
    let part = row_grain(width) * width;
    elements_mut(&mut out).par_chunks_mut(part).zip(elements(x).par_chunks(part)).for_each(|(out, x)| {
        super::simd::run(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let r = inverse_rms(x, epsilon);
                    for ((out, x), w) in out.iter_mut().zip(x).zip(weight) {
                        *out = x * r * w;
                    }
                }
            },
        );
    });
    out
}

pub(super) fn backward(mut g: F32, x: &F32, weight: &F32, epsilon: f32) -> F32 {
    let (_, width) = matrix_shape(x);
    let weight = elements(weight);
    let part = row_grain(width) * width;
    elements_mut(&mut g).par_chunks_mut(part).zip(elements(x).par_chunks(part)).for_each(|(g, x)| {
        super::simd::run(
            #[inline(always)]
            || {
                for (g, x) in g.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let r = inverse_rms(x, epsilon);
                    for (g, w) in g.iter_mut().zip(weight) {
                        *g *= w;
                    }
                    let along = dot(g, x) / width as f32 * r * r * r;
                    for (g, x) in g.iter_mut().zip(x) {
                        *g = r.mul_add(*g, -along * x);
                    }
                }
            },
        );
    });
    g
}

pub(super) fn weight_backward(mut grad: F32, g: &F32, x: &F32, epsilon: f32) -> F32 {
    let (_, width) = matrix_shape(x);
    let grad_row = elements_mut(&mut grad);
    for (g, x) in elements(g).chunks_exact(width).zip(elements(x).chunks_exact(width)) {
        let r = inverse_rms(x, epsilon);
        for ((to, g), x) in grad_row.iter_mut().zip(g).zip(x) {
            *to += g * x * r;
        }
    }
    grad
}
