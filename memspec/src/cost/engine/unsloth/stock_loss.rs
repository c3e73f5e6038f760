//! The loss of models without Unsloth's own forward: all logits of the micro batch, and their gradient
//! (`unsloth_zoo/fused_losses/cross_entropy_loss.py`, `UnslothFusedLoss`, one chunk where memory is plenty).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::LOGITS;
use super::Sizes;
use crate::model::Dtype;

/// Forward from the last norm's output; returns the gradient of the hidden states, where it is `asked` for.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, asked: bool) -> Option<Tensor> {
    let shape = &sizes.shape;
    let mut new = |elements, dtype| tape.new_as(LOGITS, elements, dtype);
    let labels = new(shape.rows, Dtype::I64);
    let gradient = asked.then(|| new(sizes.hidden, Dtype::Bf16));
    let logits = new(shape.rows * shape.model.vocab, Dtype::Bf16);
    let rows: [Tensor; 4] = [(); 4].map(|()| new(shape.rows, Dtype::F32));
    let logit_gradients = asked.then(|| new(shape.rows * shape.model.vocab, Dtype::Bf16));
    drop((logits, rows));
    let hidden = asked.then(|| new(sizes.hidden, Dtype::Bf16));
    drop((logit_gradients, hidden, labels));
    gradient
}
