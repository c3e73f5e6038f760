//! Cross entropy over the vocabulary, in chunks of tokens: the logits of all tokens never exist at once.

use rayon::prelude::*;

use super::elementwise::exp;
use super::matrix::{Target, View, multiply, parallelism};
use super::{elements, elements_mut, matrix_shape};
use crate::kernels::storage::{F32, unfilled};

/// Targets below zero are not scored.
fn scored(targets: &[i32]) -> Vec<usize> {
    (0..targets.len()).filter(|&token| targets[token] >= 0).collect()
}

/// See [`crate::kernels::Kernels::cross_entropy_trained_head`].
pub(super) fn cross_entropy(
    mut x: F32,
    head: &F32,
    mut head_grad: Option<F32>,
    targets: &F32,
    rows: usize,
    scale: f32,
) -> (F32, F32, Option<F32>) {
    let (tokens, width) = matrix_shape(&x);
    let (vocabulary, _) = matrix_shape(head);
    let targets = targets.storage::<i32>();
    let scored = scored(targets);
    let rows = rows.min(tokens);
    let weight = View::new(elements(head), vocabulary, width, width);
    let (mut hidden, mut logits) = (unfilled([rows, width]), unfilled([rows, vocabulary]));
    let mut sum = 0.0;

    let x_elements = elements_mut(&mut x);
    for chunk in scored.chunks(rows) {
        let count = chunk.len();
        gather(elements_mut(&mut hidden), x_elements, chunk, width);
        sum += chunk_loss(&hidden, weight, &mut logits, chunk, targets, Some(scale));
        let to_logits = View::new(elements(&logits), count, vocabulary, vocabulary);
        if let Some(grad) = &mut head_grad {
            let hidden = View::new(elements(&hidden), count, width, width);
            // SAFETY: the gradient is borrowed for writing and has the head's shape.
            let target = unsafe { Target::new(elements_mut(grad).as_mut_ptr(), width) };
            multiply(target, to_logits.transposed(), hidden, 1.0, 1.0, parallelism(vocabulary, width, count));
        }
        // SAFETY: `hidden` is borrowed for writing; its tokens are not read again.
        let target = unsafe { Target::new(elements_mut(&mut hidden).as_mut_ptr(), width) };
        multiply(target, to_logits, weight, 1.0, 0.0, parallelism(count, width, vocabulary));
        for (row, &token) in elements(&hidden).chunks_exact(width).zip(chunk) {
            x_elements[token * width..][..width].copy_from_slice(row);
        }
    }
    for (token, row) in x_elements.chunks_exact_mut(width).enumerate() {
        if targets[token] < 0 {
            row.fill(0.0);
        }
    }
    (one((sum * f64::from(scale)) as f32), x, head_grad)
}

/// See [`crate::kernels::Kernels::cross_entropy_loss`].
pub(super) fn loss_only(x: &F32, head: &F32, targets: &F32, rows: usize, scale: f32) -> F32 {
    let (tokens, width) = matrix_shape(x);
    let (vocabulary, _) = matrix_shape(head);
    let targets = targets.storage::<i32>();
    let rows = rows.min(tokens);
    let weight = View::new(elements(head), vocabulary, width, width);
    let (mut hidden, mut logits) = (unfilled([rows, width]), unfilled([rows, vocabulary]));
    let mut sum = 0.0;
    for chunk in scored(targets).chunks(rows) {
        gather(elements_mut(&mut hidden), elements(x), chunk, width);
        sum += chunk_loss(&hidden, weight, &mut logits, chunk, targets, None);
    }
    one((sum * f64::from(scale)) as f32)
}

fn one(value: f32) -> F32 {
    let mut tensor = unfilled([1]);
    elements_mut(&mut tensor)[0] = value;
    tensor
}

fn gather(to: &mut [f32], from: &[f32], rows: &[usize], width: usize) {
    for (to, &row) in to.chunks_exact_mut(width).zip(rows) {
        to.copy_from_slice(&from[row * width..][..width]);
    }
}

/// The summed loss of the gathered tokens. With `gradient`, the logits become their own gradient times it.
fn chunk_loss(
    hidden: &F32,
    weight: View<'_>,
    logits: &mut F32,
    chunk: &[usize],
    targets: &[i32],
    gradient: Option<f32>,
) -> f64 {
    let (count, vocabulary, width) = (chunk.len(), weight.rows, weight.columns);
    let hidden = View::new(elements(hidden), count, width, width);
    // SAFETY: the logits are borrowed for writing and hold at least `count` rows.
    let target = unsafe { Target::new(elements_mut(logits).as_mut_ptr(), vocabulary) };
    multiply(target, hidden, weight.transposed(), 1.0, 0.0, parallelism(count, vocabulary, width));
    let losses: Vec<f64> = elements_mut(logits)[..count * vocabulary]
        .par_chunks_mut(vocabulary)
        .zip(chunk)
        .map(|(logits, &token)| {
            let target = targets[token] as usize;
            let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let of_target = logits[target];
            let mut sum = 0.0;
            super::simd::run(
                #[inline(always)]
                || {
                    // Partial sums of a bounded length: f32 loses digits over a vocabulary of 10^5.
                    for part in logits.chunks_mut(1024) {
                        let mut lanes = [0f32; 16];
                        let (whole, rest) = part.as_chunks_mut::<16>();
                        for values in whole {
                            for lane in 0..16 {
                                values[lane] = exp(values[lane] - largest);
                                lanes[lane] += values[lane];
                            }
                        }
                        for value in rest {
                            *value = exp(*value - largest);
                            lanes[0] += *value;
                        }
                        sum += f64::from(lanes.iter().sum::<f32>());
                    }
                },
            );
            if let Some(scale) = gradient {
                let factor = scale / sum as f32;
                for value in logits.iter_mut() {
                    *value *= factor;
                }
                logits[target] -= scale;
            }
            f64::from(largest) + sum.ln() - f64::from(of_target)
        })
        .collect();
    losses.iter().sum()
}
