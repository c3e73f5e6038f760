//! Optimizer steps in place.

use rayon::prelude::*;

use super::{GRAIN, elements_mut};
use crate::kernels::AdamW;
use crate::kernels::storage::F32;

pub(super) fn adamw(
    mut value: F32,
    mut grad: F32,
    mut first: F32,
    mut second: F32,
    how: AdamW,
) -> (F32, F32, F32, F32) {
    let (beta1, beta2) = how.betas;
    let correction1 = 1.0 / (1.0 - beta1.powi(how.step));
    let correction2 = 1.0 / (1.0 - beta2.powi(how.step));
    let decay = 1.0 - how.learning_rate * how.weight_decay;
    elements_mut(&mut value)
        .par_chunks_mut(GRAIN)
        .zip(elements_mut(&mut grad).par_chunks_mut(GRAIN))
        .zip(elements_mut(&mut first).par_chunks_mut(GRAIN))
        .zip(elements_mut(&mut second).par_chunks_mut(GRAIN))
        .for_each(|(((value, grad), first), second)| {
            for (((value, grad), m), v) in value.iter_mut().zip(grad).zip(first).zip(second) {
                let g = *grad * how.gradient_scale;
                *grad = 0.0;
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                let denominator = (*v * correction2).sqrt() + how.epsilon;
                *value = *value * decay - how.learning_rate * (*m * correction1) / denominator;
            }
        });
    (value, grad, first, second)
}

pub(super) fn sgd(mut value: F32, mut grad: F32, how: AdamW) -> (F32, F32) {
    let decay = 1.0 - how.learning_rate * how.weight_decay;
    elements_mut(&mut value).par_chunks_mut(GRAIN).zip(elements_mut(&mut grad).par_chunks_mut(GRAIN)).for_each(
        |(value, grad)| {
            for (value, grad) in value.iter_mut().zip(grad) {
                *value = *value * decay - how.learning_rate * how.gradient_scale * *grad;
                *grad = 0.0;
            }
        },
    );
    (value, grad)
}
