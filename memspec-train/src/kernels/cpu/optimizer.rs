//! Optimizer steps in place.

use rayon::prelude::*;

use super::{GRAIN, bytes_mut, elements_mut};
use crate::kernels::storage::F32;
use crate::kernels::{AdamW, STATE_BLOCK};
use crate::quantize::dynamic_map::{self, nearest};

/// What AdamW computes with, once for all elements.
#[derive(Clone, Copy)]
struct Numbers {
    how: AdamW,
    correction1: f32,
    correction2: f32,
    decay: f32,
}

impl Numbers {
    fn of(how: AdamW) -> Self {
        let (beta1, beta2) = how.betas;
        Self {
            how,
            correction1: 1.0 / (1.0 - beta1.powi(how.step)),
            correction2: 1.0 / (1.0 - beta2.powi(how.step)),
            decay: 1.0 - how.learning_rate * how.weight_decay,
        }
    }

    /// Steps one element, whose gradient becomes zero.
    #[inline(always)]
    fn step(&self, value: &mut f32, grad: &mut f32, m: &mut f32, v: &mut f32) {
        let Self { how, correction1, correction2, decay } = self;
        let (beta1, beta2) = how.betas;
        let g = *grad * how.gradient_scale;
        *grad = 0.0;
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        let denominator = (*v * correction2).sqrt() + how.epsilon;
        *value = *value * decay - how.learning_rate * (*m * correction1) / denominator;
    }
}

pub(super) fn adamw(
    mut value: F32,
    mut grad: F32,
    mut first: F32,
    mut second: F32,
    how: AdamW,
) -> (F32, F32, F32, F32) {
    let numbers = Numbers::of(how);
    elements_mut(&mut value)
        .par_chunks_mut(GRAIN)
        .zip(elements_mut(&mut grad).par_chunks_mut(GRAIN))
        .zip(elements_mut(&mut first).par_chunks_mut(GRAIN))
        .zip(elements_mut(&mut second).par_chunks_mut(GRAIN))
        .for_each(|(((value, grad), first), second)| {
            for (((value, grad), m), v) in value.iter_mut().zip(grad).zip(first).zip(second) {
                numbers.step(value, grad, m, v);
            }
        });
    (value, grad, first, second)
}

/// See [`crate::kernels::Kernels::adamw_8bit`]. A code is the nearest one, as in bitsandbytes' backend for the CPU; its CUDA kernel goes
/// on to the next where a first moment near zero would lose its sign.
pub(super) fn adamw_8bit(
    mut value: F32,
    mut grad: F32,
    (mut first, mut first_largest): (F32, F32),
    (mut second, mut second_largest): (F32, F32),
    how: AdamW,
) -> (F32, F32, F32, F32, F32, F32) {
    let numbers = Numbers::of(how);
    elements_mut(&mut value)
        .par_chunks_mut(STATE_BLOCK)
        .zip(elements_mut(&mut grad).par_chunks_mut(STATE_BLOCK))
        .zip(bytes_mut(&mut first).par_chunks_mut(STATE_BLOCK).zip(elements_mut(&mut first_largest)))
        .zip(bytes_mut(&mut second).par_chunks_mut(STATE_BLOCK).zip(elements_mut(&mut second_largest)))
        .with_min_len(GRAIN / STATE_BLOCK)
        .for_each(|(((value, grad), first), second)| {
            let mut first = Block::open(first, &dynamic_map::SIGNED);
            let mut second = Block::open(second, &dynamic_map::UNSIGNED);
            let moments = first.moment.iter_mut().zip(&mut second.moment);
            for ((value, grad), (m, v)) in value.iter_mut().zip(grad).zip(moments) {
                numbers.step(value, grad, m, v);
            }
            first.close();
            second.close();
        });
    (value, grad, first, first_largest, second, second_largest)
}

/// A block of an 8-bit moment, in f32 while it is stepped.
struct Block<'a> {
    moment: [f32; STATE_BLOCK],
    codes: &'a mut [u8],
    largest: &'a mut f32,
    map: &'static [f32; 256],
}

impl<'a> Block<'a> {
    fn open((codes, largest): (&'a mut [u8], &'a mut f32), map: &'static [f32; 256]) -> Self {
        let mut moment = [0.0; STATE_BLOCK];
        for (moment, &code) in moment.iter_mut().zip(&*codes) {
            *moment = map[usize::from(code)] * *largest;
        }
        Self { moment, codes, largest, map }
    }

    fn close(self) {
        let moment = &self.moment[..self.codes.len()];
        let largest = moment.iter().fold(0.0_f32, |largest, moment| largest.max(moment.abs()));
        *self.largest = largest;
        for (code, moment) in self.codes.iter_mut().zip(moment) {
            // A block of zeros is one whatever its codes are.
            *code = if largest > 0.0 { nearest(self.map, moment / largest) } else { 0 };
        }
    }
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
