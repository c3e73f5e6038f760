//! Cross entropy.

use burn::tensor::{Int, Tensor};

use super::inputs::{Check, Inputs, Outputs};
use crate::kernels;
use crate::kernels::place::fetch;

/// Tokens of a batch that is no multiple of how many are taken at a time.
const TOKENS: usize = 21;

impl Inputs {
    fn targets(&self) -> Tensor<1, Int> {
        self.place.integers(&[3, -1, 6, 0, 46, 1, -1, 2])
    }

    /// A vocabulary of which a block of threads takes more than one turn: the loss, alone too, and both gradients.
    fn vocabulary(&self, words: usize, at_a_time: usize) -> Outputs {
        let mut targets: Vec<i32> = (0..TOKENS).map(|token| (token * 1237 % words) as i32).collect();
        // The last word, the first one, and two that are not scored: the first of a turn and the last of all.
        (targets[3], targets[4], targets[at_a_time], targets[TOKENS - 1]) = (words as i32 - 1, 0, -1, -1);
        let targets = self.place.integers(&targets);
        let (x, head) = (self.active("x", [TOKENS, 24]), self.active("head", [words, 24]));
        let alone = kernels::cross_entropy_loss(&x, &head, &targets, at_a_time, 0.25);
        let grad = self.place.zeros_to_train([words, 24]);
        let (loss, gx, grad) = kernels::cross_entropy(x, &head, Some(grad), &targets, at_a_time, 0.25);
        let grad = grad.map_or(Ok(Vec::new()), |grad| fetch(&grad))?;
        Ok(vec![fetch(&alone)?, fetch(&loss)?, fetch(&gx)?, grad])
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
    // Rows of logits of which only the first is at an address that eight neighbours can be read from, and rows that all are.
    ("cross_entropy of 9001 words", 3e-6, 2e-2, |at| at.vocabulary(9001, 8)),
    ("cross_entropy of 9008 words", 3e-6, 2e-2, |at| at.vocabulary(9008, 8)),
];
