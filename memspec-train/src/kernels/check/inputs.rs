//! Inputs of the checks, the same numbers at each place.

use burn::tensor::Tensor;

use crate::kernels::place::Place;
use crate::kernels::{DeviceFailed, storage};
use crate::random::Random;

/// Makes inputs at a place.
pub(super) struct Inputs {
    pub(super) place: Place,
}

/// The elements of each tensor that an operation gives.
pub(super) type Outputs = Result<Vec<Vec<f32>>, DeviceFailed>;

/// An operation: what to run, and the tolerance in f32 and in bf16.
pub(super) type Check = (&'static str, f32, f32, fn(&Inputs) -> Outputs);

/// Numbers within `bound` of 0, rounded to bf16.
pub(super) fn random(seed: &str, count: usize, bound: f32) -> Vec<f32> {
    let mut random = Random::new(7, seed);
    (0..count).map(|_| half::bf16::from_f32(random.uniform(bound)).to_f32()).collect()
}

/// The column in which each token's sample begins, in a row of samples of these lengths that is filled up to `context`.
pub(super) fn starts(lengths: &[usize], context: usize) -> Vec<i32> {
    let mut starts = Vec::new();
    for &length in lengths {
        starts.resize(starts.len() + length, starts.len() as i32);
    }
    starts.extend((starts.len() as i32)..context as i32);
    starts
}

/// A tensor on the CPU.
pub(super) fn on_cpu<const D: usize>(shape: [usize; D], values: &[f32]) -> Tensor<D> {
    storage::write(storage::zeros_tensor(shape), values)
}

impl Inputs {
    /// As activations are.
    pub(super) fn active<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.frozen(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }

    /// As weights that are trained are, and their gradients.
    pub(super) fn trained<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.to_train(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }

    /// In f32.
    pub(super) fn full<const D: usize>(&self, seed: &str, shape: [usize; D]) -> Tensor<D> {
        self.place.full(on_cpu(shape, &random(seed, shape.iter().product(), 1.0)))
    }
}
