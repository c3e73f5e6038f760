//! Inputs of the checks, the same numbers at each place.

use burn::tensor::Tensor;

use crate::kernels::place::{Format, Place, fetch};
use crate::kernels::{DeviceFailed, storage};
use crate::random::Random;

/// How numbers are rounded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rounding {
    /// The type of activations.
    pub(super) active: Format,
    /// Those of f32 go into products as TF32.
    pub(super) tf32: bool,
}

impl Rounding {
    /// Not at all.
    pub(super) const NONE: Self = Self { active: Format::F32, tf32: false };

    /// As an activation is kept. What is too large for its type is infinite.
    pub(super) fn kept(self, value: f32) -> f32 {
        match self.active {
            Format::F32 => value,
            Format::Bf16 => half::bf16::from_f32(value).to_f32(),
            Format::F16 => half::f16::from_f32(value).to_f32(),
        }
    }

    /// As an activation goes into a product.
    pub(super) fn multiplied(self, value: f32) -> f32 {
        let kept = self.kept(value);
        // TF32 has 13 bits less.
        if self.tf32 { f32::from_bits((kept.to_bits() + (1 << 12)) & !((1 << 13) - 1)) } else { kept }
    }
}

/// Makes inputs at a place.
pub(super) struct Inputs {
    pub(super) place: Place,
    /// What the plain version has to round itself to be beside the place that it is compared with: nothing where that is this one.
    pub(super) by_hand: Rounding,
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

    /// Rows of one number each, as activations are when they go into a product.
    pub(super) fn constant(&self, rows: &[f32], columns: usize) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flat_map(|&row| vec![self.by_hand.multiplied(row); columns]).collect();
        self.place.frozen(on_cpu([rows.len(), columns], &values))
    }

    /// The elements of an activation: what has no room in its type is infinite on both sides.
    pub(super) fn kept<const D: usize>(&self, tensor: &Tensor<D>) -> Result<Vec<f32>, DeviceFailed> {
        Ok(fetch(tensor)?.into_iter().map(|value| self.by_hand.kept(value)).collect())
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
