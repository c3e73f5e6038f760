//! Element-wise operations.

use rayon::prelude::*;

use super::{GRAIN, elements, elements_mut};
use crate::kernels::storage::{F32, unfilled};

pub(super) fn add(mut x: F32, y: &F32) -> F32 {
    elements_mut(&mut x).par_chunks_mut(GRAIN).zip(elements(y).par_chunks(GRAIN)).for_each(|(x, y)| {
        for (x, y) in x.iter_mut().zip(y) {
            *x += y;
        }
    });
    x
}

pub(super) fn add_bias(mut x: F32, bias: &F32) -> F32 {
    let bias = elements(bias);
    elements_mut(&mut x).par_chunks_mut(bias.len()).for_each(|row| {
        for (x, b) in row.iter_mut().zip(bias) {
            *x += b;
        }
    });
    x
}

pub(super) fn add_rows(mut grad: F32, g: &F32) -> F32 {
    let sums = elements_mut(&mut grad);
    for row in elements(g).chunks_exact(sums.len()) {
        for (sum, g) in sums.iter_mut().zip(row) {
            *sum += g;
        }
    }
    grad
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `e^x` to 2 units in the last place, in a form that vectorizes: `2^n * p(r)` with `r` in `[-ln2/2, ln2/2]`
/// (coefficients of Cephes' expf).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Beyond these bounds f32 overflows, or the result is below its smallest normal number.
    let x = x.clamp(-87.3, 88.7);
    let n = (x * std::f32::consts::LOG2_E).round_ties_even();
    let r = n.mul_add(-0.693_359_4, x);
    let r = n.mul_add(2.121_944_4e-4, r);
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 1.666_666_5e-1);
    let p = p.mul_add(r, 5.000_000_3e-1);
    let y = p.mul_add(r * r, r + 1.0);
    y * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

pub(super) fn swiglu(gate: &F32, up: &F32) -> F32 {
    let mut out = unfilled(gate.layout().shape().clone());
    elements_mut(&mut out)
        .par_chunks_mut(GRAIN)
        .zip(elements(gate).par_chunks(GRAIN))
        .zip(elements(up).par_chunks(GRAIN))
        .for_each(|((out, gate), up)| super::simd::run(|| swiglu_into(out, gate, up)));
    out
}

#[inline(always)]
fn swiglu_into(out: &mut [f32], gate: &[f32], up: &[f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = gate * sigmoid(gate) * up;
    }
}

pub(super) fn swiglu_over(mut gate: F32, up: &F32) -> F32 {
    elements_mut(&mut gate).par_chunks_mut(GRAIN).zip(elements(up).par_chunks(GRAIN)).for_each(|(gate, up)| {
        super::simd::run(
            #[inline(always)]
            || {
                for (gate, &up) in gate.iter_mut().zip(up) {
                    *gate = *gate * sigmoid(*gate) * up;
                }
            },
        );
    });
    gate
}

pub(super) fn swiglu_backward(mut gate: F32, mut up: F32, mut g: F32) -> (F32, F32, F32) {
    elements_mut(&mut gate)
        .par_chunks_mut(GRAIN)
        .zip(elements_mut(&mut up).par_chunks_mut(GRAIN))
        .zip(elements_mut(&mut g).par_chunks_mut(GRAIN))
        .for_each(|((gate, up), g)| {
            super::simd::run(
                #[inline(always)]
                || {
                    for ((gate, up), g) in gate.iter_mut().zip(up.iter_mut()).zip(g) {
                        let s = sigmoid(*gate);
                        let silu = *gate * s;
                        // d silu / d gate = s (1 + gate (1 - s)) = s + silu (1 - s)
                        let to_gate = *g * *up * silu.mul_add(1.0 - s, s);
                        let (to_up, y) = (*g * silu, silu * *up);
                        (*gate, *up, *g) = (to_gate, to_up, y);
                    }
                },
            );
        });
    (gate, up, g)
}

pub(super) fn sum_of_squares(x: &F32) -> f32 {
    // Partial sums in a fixed order, so that the result does not depend on which thread was faster.
    let parts: Vec<f64> =
        elements(x).par_chunks(GRAIN).map(|part| part.iter().map(|&x| f64::from(x) * f64::from(x)).sum()).collect();
    parts.iter().sum::<f64>() as f32
}
