//! The loss of models without Unsloth's own forward: all logits of the micro batch, and their gradient
//! (`unsloth_zoo/fused_losses/cross_entropy_loss.py`, `UnslothFusedLoss`, in chunks that take 4 GiB by its count).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::LOGITS;
use super::Sizes;
use crate::model::Dtype;

/// Forward from the last norm's output; returns the gradient of the hidden states, where it is `asked` for.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, asked: bool) -> Option<Tensor> {
    let shape = &sizes.shape;
    let mut new = |elements, dtype| tape.new_as(LOGITS, elements, dtype);
    let labels = new(shape.rows, Dtype::I64);
    let gradient = asked.then(|| new(sizes.hidden, sizes.dtype));
    let chunks = chunks(shape.rows, shape.model.vocab, sizes.hidden * sizes.dtype.bytes());
    let part = shape.rows.div_ceil(chunks);
    for first in (0..shape.rows).step_by(part as usize) {
        let count = part.min(shape.rows - first);
        let logits = new(count * shape.model.vocab, sizes.dtype);
        let rows: [Tensor; 4] = [(); 4].map(|()| new(count, Dtype::F32));
        let logit_gradients = asked.then(|| new(count * shape.model.vocab, sizes.dtype));
        drop((logits, rows));
        let hidden = asked.then(|| new(count * shape.model.hidden, sizes.dtype));
        drop((logit_gradients, hidden));
    }
    drop(labels);
    gradient
}

/// Chunks of tokens: one, or a multiple of four, of at most 4 GiB where 8 GiB are free, at 16 bytes a logit, less what no chunk makes smaller
/// (`cross_entropy_loss.py:262`, `_get_chunk_multiplier`; `:290`, `get_chunk_size`).
fn chunks(rows: u64, vocabulary: u64, fixed: u64) -> u64 {
    const MOST: u64 = 4 << 30;
    let target = if fixed < MOST { MOST - fixed } else { MOST };
    let whole = rows * vocabulary * 16;
    if whole <= target { 1 } else { (whole.div_ceil(4 * target) * 4).min(rows) }
}
