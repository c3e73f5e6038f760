//! The head and cross entropy, with the gradients of the hidden states and of a trained head made in forward
//! (`unsloth_zoo/fused_losses/fused_linear.py:1286`, `_ce_impl`).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::Model;
use super::super::trl::{ACTIVATION_GRADIENTS, GRADIENTS, LOGITS};
use super::sizes::{Layers, Sizes};
use super::stock_loss;
use crate::model::Dtype;

/// Words that a tile of logits spans (`fused_linear.py:79`, `_SPLIT_COLS`); vocabularies up to twice as many are not tiled.
const TILE_WORDS: u64 = 16_384;
/// Rows that a chunk has at most (`:73`, `_MAX_ROWS`), and from which the vocabulary is tiled on cards above 24 GiB (`:107`).
pub(super) const MOST_ROWS: u64 = 4096;
/// Logits that keep a product busy (`:71`, `_MIN_LOGITS`): 512 rows of 151936 words.
const FEWEST_LOGITS: u64 = 512 * 151_936;
/// Bytes of logits at a time (`:70`, `_CHUNK_GB`), with 2 GiB free.
const CHUNK_BYTES: u64 = 2 << 30;

/// Gradients that the forward pass made, before they are scaled: of the hidden states, and of a trained head.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) hidden: Option<Tensor>,
    pub(super) head: Option<Tensor>,
}

impl Made {
    /// Backward of the loss: both are scaled into new ones.
    pub(super) fn scaled(self, tape: &mut Tape<'_>, sizes: &Sizes) -> (Tensor, Option<Tensor>) {
        let hidden =
            tape.new_as(ACTIVATION_GRADIENTS, sizes.hidden, self.hidden.map_or(sizes.dtype, |made| made.dtype));
        (hidden, self.head.map(|head| tape.new_as(GRADIENTS, head.elements, head.dtype)))
    }
}

/// Forward from the last norm's output, with the gradients of a training step.
pub(super) fn gradients(tape: &mut Tape<'_>, sizes: &Sizes, model: &Model) -> Made {
    let head = &model.head.as_ref().unwrap_or(&model.embedding).tensor;
    match sizes.layers {
        Layers::Pieces | Layers::Stock => Made { hidden: stock_loss::forward(tape, sizes, true), head: None },
        _ => forward(tape, sizes, head.requires_grad().then_some(head), true),
    }
}

/// The same in evaluation: the loss alone.
pub(super) fn value(tape: &mut Tape<'_>, sizes: &Sizes) {
    match sizes.layers {
        Layers::Pieces | Layers::Stock => drop(stock_loss::forward(tape, sizes, false)),
        _ => drop(forward(tape, sizes, None, false)),
    }
}

/// The loss as an operation on the last norm's output: backward scales the gradients into new ones.
pub(super) fn node<'a>(tape: &mut Tape<'a>, sizes: &Sizes, model: &Model, hidden: Tensor) -> Tensor {
    let head = &model.head.as_ref().unwrap_or(&model.embedding).tensor;
    let made = gradients(tape, sizes, model);
    let root = tape.new_as(LOGITS, 1, Dtype::F32);
    let saved: Vec<&Tensor> = made.hidden.iter().chain(&made.head).collect();
    let kept = [&made.hidden, &made.head].map(|kept| kept.as_ref().map(|kept| (kept.elements, kept.dtype)));
    tape.custom(root, &[&hidden, head], &saved, move |tape, _, _| {
        let [hidden, head] = kept;
        let hidden = hidden.map(|(elements, dtype)| tape.new_tensor(elements, dtype));
        vec![hidden, head.map(|(elements, dtype)| tape.new_as(GRADIENTS, elements, dtype))]
    })
}

/// `head`: the head's weight, where it is trained; `asked`: gradients are wanted.
fn forward(tape: &mut Tape<'_>, sizes: &Sizes, head: Option<&Tensor>, asked: bool) -> Made {
    let shape = &sizes.shape;
    let (hidden, vocabulary) = (shape.model.hidden, shape.model.vocab);
    // Every sample's last token has nothing to predict.
    let scored = shape.rows - shape.attention.batch;
    let mut new = |elements, dtype| tape.new_as(LOGITS, elements, dtype);
    let targets = new(shape.rows, Dtype::I64);
    let kept = new(scored, Dtype::I64);
    let last = sizes.last_dtype();
    let gradient = asked.then(|| new(sizes.hidden, last));
    let head_gradient = head.map(|head| new(head.elements, head.dtype));
    let cast = head.filter(|head| head.dtype != sizes.dtype).map(|head| new(head.elements, sizes.dtype));
    let losses = new(scored, Dtype::F32);
    let tiled = sizes.tiled_from.is_some_and(|from| scored >= from) && vocabulary > 2 * TILE_WORDS && head.is_none();
    let rows = if tiled { MOST_ROWS.min(scored) } else { chunk_rows(scored, hidden, vocabulary) };
    if tiled {
        let log_sums = new(scored, Dtype::F32);
        let tile = new(rows * TILE_WORDS, Dtype::F32);
        let sums = asked.then(|| new(rows * hidden, Dtype::F32));
        let maxima = asked.then(|| new(rows, Dtype::F32));
        let mut gathered: Option<Tensor> = None;
        let mut partial: Option<Tensor> = None;
        for first in (0..scored).step_by(rows as usize) {
            let count = rows.min(scored - first);
            gathered = Some(new(count * hidden, sizes.dtype)).or(gathered);
            partial = Some(new(8 * vocabulary.div_ceil(TILE_WORDS) * count, Dtype::F32)).or(partial);
        }
        drop((tile, sums, maxima, gathered, partial, log_sums));
    } else {
        let logits = new(rows * vocabulary.next_multiple_of(8), Dtype::F32);
        let mut gathered: Option<Tensor> = None;
        let mut products: Option<Tensor> = None;
        for first in (0..scored).step_by(rows as usize) {
            let count = rows.min(scored - first);
            gathered = Some(rows_of(&mut new, count * hidden, last, sizes.dtype)).or(gathered);
            let part = new(8 * vocabulary.div_ceil(TILE_WORDS) * count, Dtype::F32);
            drop(part);
            if asked {
                products = Some(new(count * hidden, Dtype::F32)).or(products);
                if last != Dtype::F32 {
                    drop(new(count * hidden, last));
                }
            }
        }
        drop((gathered, logits, products));
    }
    drop((targets, kept, losses, cast));
    Made { hidden: gradient, head: head_gradient }
}

/// Gathered rows, in the type of the product.
fn rows_of(new: &mut impl FnMut(u64, Dtype) -> Tensor, elements: u64, last: Dtype, dtype: Dtype) -> Tensor {
    let rows = new(elements, last);
    if last == dtype { rows } else { new(elements, dtype) }
}

/// Rows of logits at a time: the power of two below rows · hidden ÷ vocabulary, at least what keeps the product busy
/// (`fused_linear.py:140`, `fused_linear_rows`).
fn chunk_rows(scored: u64, hidden: u64, vocabulary: u64) -> u64 {
    let below = |n: u64| if n == 0 { 1 } else { 1 << n.ilog2() };
    let fewest = below(FEWEST_LOGITS / vocabulary).clamp(512, MOST_ROWS);
    let rows = below(scored * hidden / vocabulary).clamp(fewest, MOST_ROWS);
    rows.min((CHUNK_BYTES / (4 * vocabulary)).max(2)).min(scored)
}
