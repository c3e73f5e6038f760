//! What the tests of layers share.

use burn::tensor::Tensor;

use crate::kernels::place::fetch;
use crate::kernels::storage;
use crate::random::Random;

/// Numbers within `bound` of 0, the same for the same seed.
pub(super) fn random(seed: &str, shape: [usize; 2], bound: f32) -> Tensor<2> {
    let mut random = Random::new(3, seed);
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| random.uniform(bound)).collect();
    storage::write(storage::zeros_tensor(shape), &values)
}

/// Equal but for the order of additions.
#[track_caller]
pub(super) fn assert_near(one: &Tensor<2>, other: &Tensor<2>) {
    let (one, other) = (fetch(one).unwrap(), fetch(other).unwrap());
    let largest = other.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    assert!(one.iter().zip(&other).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
}
