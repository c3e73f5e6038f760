//! Optimizer steps.

use super::inputs::{Check, on_cpu, random};
use crate::kernels::place::fetch;
use crate::kernels::{self, AdamW};

/// The optimizer's numbers of a step.
fn adamw(step: i32) -> AdamW {
    AdamW { learning_rate: 0.01, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.1, step, gradient_scale: 0.5 }
}

pub(super) const CHECKS: &[Check] = &[
    ("sum_of_squares, adamw, sgd", 3e-6, 3e-6, |at| {
        let of = |seed| at.trained(seed, [33, 7]);
        let second =
            at.place.to_train(on_cpu([33, 7], &random("second", 231, 1.0).iter().map(|x| x * x).collect::<Vec<_>>()));
        let sums = kernels::sum_of_squares(at.place.zeros([3]), &of("grad"), 1);
        let (value, grad, first, second) = kernels::adamw((of("value"), of("grad"), of("first"), second), adamw(3));
        let (plain, zero) = kernels::sgd(of("value"), of("grad"), adamw(3));
        Ok(vec![
            fetch(&sums)?,
            fetch(&value)?,
            fetch(&grad)?,
            fetch(&first)?,
            fetch(&second)?,
            fetch(&plain)?,
            fetch(&zero)?,
        ])
    }),
    ("adamw_8bit", 3e-6, 3e-6, |at| {
        // Blocks of 256 and one that is not full. Where two codes are equally near, another rounding may take the other: what is compared
        // is what two steps make of the weight, and the blocks' largest moments.
        let moment = || (at.place.zero_bytes(660), at.place.zeros([3]));
        let (weight, grad) = (at.trained("value", [33, 20]), at.trained("grad", [33, 20]));
        let ((weight, grad), first, second) = kernels::adamw_8bit((weight, grad), moment(), moment(), adamw(1));
        let mut outputs = vec![fetch(&weight)?, fetch(&grad)?, fetch(&first.1)?, fetch(&second.1)?];
        let ((weight, _), ..) = kernels::adamw_8bit((weight, at.trained("more", [33, 20])), first, second, adamw(2));
        outputs.push(fetch(&weight)?);
        Ok(outputs)
    }),
    ("adamw of tensors too small for 8 bits", 3e-6, 3e-6, |at| {
        let moments = (at.full("first", [33, 7]), at.place.full(on_cpu([33, 7], &[0.25; 231])));
        let (weight, grad) = (at.trained("value", [33, 7]), at.trained("grad", [33, 7]));
        let (weight, grad, first, second) = kernels::adamw((weight, grad, moments.0, moments.1), adamw(3));
        Ok(vec![fetch(&weight)?, fetch(&grad)?, fetch(&first)?, fetch(&second)?])
    }),
];
