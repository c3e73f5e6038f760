//! TRL's loss: head and log-probabilities in tiles, so that logits never exist whole (`trl/kernels/chunked_logprob.py`).

use super::super::super::super::torch::{Tape, Tensor};
use super::{GRADIENTS, LOGITS, Model, Shape, Wrapper};
use crate::model::Dtype;

/// Tokens of a tile (`chunked_logprob.py:22`).
const TILE_TOKENS: u64 = 4096;
/// Words of a tile (`chunked_logprob.py:22`).
const TILE_WORDS: u64 = 32_768;

/// The loss of the decoder's output `last`, a scalar.
pub(super) fn loss<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    model: &'a Model,
    wrapper: &'a Wrapper,
    last: Tensor,
) -> Tensor {
    let hidden_width = shape.model.hidden;
    // Every token but the first of each sample is predicted.
    let scored = shape.attention.batch * (shape.attention.tokens - 1);
    let compute = tape.autocast.unwrap_or(last.dtype);
    let dtype = last.dtype;
    // `hidden[mask]` (`trl/trainer/utils.py:1639`).
    let shifted = tape.slice(&last, scored * hidden_width);
    let hidden = {
        let y = tape.new_tensor(scored * hidden_width, dtype);
        let whole = shifted.elements;
        tape.custom(y, &[&shifted], &[], move |tape, _, _| {
            let gradient = tape.new_tensor(whole, dtype);
            let _sort: Vec<Tensor> = (0..6).map(|_| tape.new_tensor(scored, Dtype::I64)).collect();
            vec![Some(gradient)]
        })
    };
    let whole = wrapper.whole_head(tape, model);
    let gathered = wrapper.gathered_head(tape);
    let head = whole.as_ref().unwrap_or(&model.projection().tensor);
    let tile = scored.min(TILE_TOKENS);
    let vocab = shape.model.vocab;
    let head_dtype = head.dtype;
    let chunks = Tiles { scored, vocab, width: hidden_width, compute, hidden: dtype, head: head_dtype };
    let statistics: Vec<Tensor> = (0..7).map(|_| tape.new_tensor(scored, Dtype::F32)).collect();
    {
        let _tile = tape.new_tensor(tile * TILE_WORDS, compute);
        drop(tiles(tape, &chunks, true));
    }
    let log_z = tape.new_tensor(scored, Dtype::F32);
    let log_probability = tape.new_tensor(scored, Dtype::F32);
    let entropy = tape.new_tensor(scored, Dtype::F32);
    let _correct = tape.new_tensor(scored, Dtype::Bool);
    drop((statistics, gathered));
    let (rows, trained) = (hidden.elements, head.requires_grad());
    let words = head.elements;
    let saved = [&hidden, head, &log_z, &entropy];
    let log_probability = tape.custom(log_probability, &[&hidden, head], &saved, move |tape, _, _| {
        let _gathered = wrapper.gathered_head(tape);
        let wide = tape.new_tensor(rows, Dtype::F32);
        let wide_head = trained.then(|| tape.new_as(GRADIENTS, words, Dtype::F32));
        let _tile = tape.new_as(LOGITS, tile * TILE_WORDS, compute);
        let _last = tape.labelled(LOGITS, |tape| tiles(tape, &chunks, false));
        let gradient = tape.cast(&wide, dtype);
        let head_gradient = wide_head.map(|wide| tape.cast(&wide, head_dtype));
        vec![Some(gradient), head_gradient]
    });
    let _scattered: Vec<Tensor> = (0..3).map(|_| tape.new_tensor(shape.rows, Dtype::F32)).collect();
    let root = tape.new_tensor(1, Dtype::F32);
    tape.custom(root, &[&log_probability], &[], move |tape, _, _| vec![Some(tape.new_tensor(scored, Dtype::F32))])
}

/// What the loop over tiles casts.
#[derive(Clone, Copy)]
struct Tiles {
    scored: u64,
    vocab: u64,
    width: u64,
    compute: Dtype,
    hidden: Dtype,
    head: Dtype,
}

/// The casts of the loop over tokens and words. A loop's local lives until its next value is there; returns what is held at the end.
fn tiles(tape: &mut Tape<'_>, tiles: &Tiles, forward: bool) -> [Option<Tensor>; 2] {
    let Tiles { scored, vocab, width, compute, hidden, head } = *tiles;
    if hidden == compute && head == compute {
        // Nothing is cast; one product makes the workspace.
        tape.product();
        return [None, None];
    }
    let (mut rows, mut words) = (None, None);
    for first in (0..scored).step_by(TILE_TOKENS as usize) {
        if hidden != compute {
            rows = Some(tape.new_tensor(TILE_TOKENS.min(scored - first) * width, compute));
        }
        for word in (0..vocab).step_by(TILE_WORDS as usize) {
            if head != compute {
                words = Some(tape.new_tensor(TILE_WORDS.min(vocab - word) * width, compute));
            }
            tape.product();
            if forward {
                words = None;
            }
        }
    }
    [rows, words]
}
