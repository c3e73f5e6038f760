//! The head and cross entropy, with the gradient of the hidden states made in forward
//! (`unsloth_zoo/fused_losses/fused_linear.py:1286`, `_ce_impl`).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::LOGITS;
use super::Sizes;
use crate::model::Dtype;

/// Words that a tile of logits spans (`fused_linear.py:79`, `_SPLIT_COLS`); vocabularies up to twice as many are not tiled.
const TILE_WORDS: u64 = 16_384;
/// Rows that a chunk has at most (`:73`, `_MAX_ROWS`), and from which the vocabulary is tiled on cards above 24 GiB (`:107`).
const MOST_ROWS: u64 = 4096;
/// Logits that keep a product busy (`:71`, `_MIN_LOGITS`): 512 rows of 151936 words.
const FEWEST_LOGITS: u64 = 512 * 151_936;
/// Bytes of logits at a time (`:70`, `_CHUNK_GB`), with 2 GiB free.
const CHUNK_BYTES: u64 = 2 << 30;

/// Forward from the last norm's output; returns the gradient of the hidden states, before it is scaled, where it is `asked` for.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, asked: bool) -> Option<Tensor> {
    let shape = &sizes.shape;
    let (hidden, vocabulary) = (shape.model.hidden, shape.model.vocab);
    // Every sample's last token has nothing to predict.
    let scored = shape.rows - shape.attention.batch;
    let mut new = |elements, dtype| tape.new_as(LOGITS, elements, dtype);
    let targets = new(shape.rows, Dtype::I64);
    let kept = new(scored, Dtype::I64);
    let gradient = asked.then(|| new(sizes.hidden, Dtype::Bf16));
    let losses = new(scored, Dtype::F32);
    let tiled = scored >= MOST_ROWS && vocabulary > 2 * TILE_WORDS;
    let rows = if tiled { MOST_ROWS } else { chunk_rows(scored, hidden, vocabulary) };
    if tiled {
        let log_sums = new(scored, Dtype::F32);
        let tile = new(MOST_ROWS * TILE_WORDS, Dtype::F32);
        let sums = asked.then(|| new(MOST_ROWS * hidden, Dtype::F32));
        let maxima = asked.then(|| new(MOST_ROWS, Dtype::F32));
        let mut gathered: Option<Tensor> = None;
        let mut partial: Option<Tensor> = None;
        for first in (0..scored).step_by(rows as usize) {
            let count = rows.min(scored - first);
            gathered = Some(new(count * hidden, Dtype::Bf16)).or(gathered);
            partial = Some(new(8 * vocabulary.div_ceil(TILE_WORDS) * count, Dtype::F32)).or(partial);
        }
        drop((tile, sums, maxima, gathered, partial, log_sums));
    } else {
        let logits = new(rows * vocabulary.next_multiple_of(8), Dtype::F32);
        let mut gathered: Option<Tensor> = None;
        let mut products: Option<Tensor> = None;
        for first in (0..scored).step_by(rows as usize) {
            let count = rows.min(scored - first);
            gathered = Some(new(count * hidden, Dtype::Bf16)).or(gathered);
            let part = new(8 * vocabulary.div_ceil(TILE_WORDS) * count, Dtype::F32);
            drop(part);
            if asked {
                products = Some(new(count * hidden, Dtype::F32)).or(products);
                drop(new(count * hidden, Dtype::Bf16));
            }
        }
        drop((gathered, logits, products));
    }
    drop((targets, kept, losses));
    gradient
}

/// Rows of logits at a time: the power of two below rows · hidden ÷ vocabulary, at least what keeps the product busy
/// (`fused_linear.py:140`, `fused_linear_rows`).
fn chunk_rows(scored: u64, hidden: u64, vocabulary: u64) -> u64 {
    let below = |n: u64| if n == 0 { 1 } else { 1 << n.ilog2() };
    let fewest = below(FEWEST_LOGITS / vocabulary).clamp(512, MOST_ROWS);
    let rows = below(scored * hidden / vocabulary).clamp(fewest, MOST_ROWS);
    rows.min((CHUNK_BYTES / (4 * vocabulary)).max(2)).min(scored)
}
