//! Cross entropy.

use burn::tensor::{Int, Tensor};

use super::inputs::{Check, Inputs};
use crate::kernels;
use crate::kernels::place::fetch;

impl Inputs {
    fn targets(&self) -> Tensor<1, Int> {
        self.place.integers(&[3, -1, 6, 0, 46, 1, -1, 2])
    }
}

pub(super) const CHECKS: &[Check] = &[
    ("cross_entropy", 3e-6, 2e-2, |at| {
        let (x, head) = (at.active("x", [8, 24]), at.active("head", [47, 24]));
        let alone = kernels::cross_entropy_loss(&x, &head, &at.targets(), 3, 0.25);
        let (loss, gx, _) = kernels::cross_entropy(x, &head, None, &at.targets(), 3, 0.25);
        Ok(vec![fetch(&alone)?, fetch(&loss)?, fetch(&gx)?])
    }),
    ("cross_entropy, trained head", 3e-6, 2e-2, |at| {
        let (x, head, grad) = (at.active("x", [8, 24]), at.active("head", [48, 24]), at.trained("grad", [48, 24]));
        let (loss, gx, grad) = kernels::cross_entropy(x, &head, Some(grad), &at.targets(), 5, 0.25);
        let grad = grad.map_or(Ok(Vec::new()), |grad| fetch(&grad))?;
        Ok(vec![fetch(&loss)?, fetch(&gx)?, grad])
    }),
];
