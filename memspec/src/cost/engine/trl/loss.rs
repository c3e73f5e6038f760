//! TRL's loss: head and log-probabilities in tiles, so that logits never exist whole (`trl/kernels/chunked_logprob.py`).

use super::super::super::torch::{Tape, Tensor};
use super::weights::Model;
use super::{GRADIENTS, LOGITS, Shape, decoder};
use crate::model::Dtype;

/// Tokens of a tile (`chunked_logprob.py:22`).
const TILE_TOKENS: u64 = 4096;
/// Words of a tile (`chunked_logprob.py:22`).
const TILE_WORDS: u64 = 32_768;

/// Forward and loss, a scalar.
pub(super) fn chunked<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model) -> Tensor {
    let last = decoder::forward(tape, shape, model);
    let before = std::mem::replace(&mut tape.part, LOGITS);
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
    let head = &model.head.as_ref().unwrap_or(&model.embedding).tensor;
    let tile = scored.min(TILE_TOKENS);
    let vocab = shape.model.vocab;
    let head_dtype = head.dtype;
    let statistics: Vec<Tensor> = (0..7).map(|_| tape.new_tensor(scored, Dtype::F32)).collect();
    {
        let _tile = tape.new_tensor(tile * TILE_WORDS, compute);
        let _rows = (dtype != compute).then(|| tape.new_tensor(tile * hidden_width, compute));
        let _words = (head_dtype != compute).then(|| tape.new_tensor(TILE_WORDS * hidden_width, compute));
    }
    let log_z = tape.new_tensor(scored, Dtype::F32);
    let log_probability = tape.new_tensor(scored, Dtype::F32);
    let entropy = tape.new_tensor(scored, Dtype::F32);
    let _correct = tape.new_tensor(scored, Dtype::Bool);
    drop(statistics);
    let (rows, trained) = (hidden.elements, head.requires_grad());
    let words = head.elements;
    let saved = [&hidden, head, &log_z, &entropy];
    let log_probability = tape.custom(log_probability, &[&hidden, head], &saved, move |tape, _, _| {
        let wide = tape.new_tensor(rows, Dtype::F32);
        let wide_head = trained.then(|| tape.new_as(GRADIENTS, words, Dtype::F32));
        let chunks: Vec<Tensor>;
        {
            let _tile = tape.new_as(LOGITS, tile * TILE_WORDS, compute);
            let _rows = (dtype != compute).then(|| tape.new_as(LOGITS, tile * hidden_width, compute));
            // Two of the head's chunks are alive while one is replaced by the next.
            chunks = if head_dtype == compute {
                Vec::new()
            } else {
                (0..vocab.div_ceil(TILE_WORDS).min(2))
                    .map(|chunk| {
                        let words = TILE_WORDS.min(vocab - TILE_WORDS * chunk);
                        tape.new_as(LOGITS, words * hidden_width, compute)
                    })
                    .collect()
            };
            let gradient = tape.cast(&wide, dtype);
            let head_gradient = wide_head.map(|wide| tape.cast(&wide, head_dtype));
            drop(chunks);
            vec![Some(gradient), head_gradient]
        }
    });
    let _scattered: Vec<Tensor> = (0..3).map(|_| tape.new_tensor(shape.rows, Dtype::F32)).collect();
    let root = tape.new_tensor(1, Dtype::F32);
    let root =
        tape.custom(root, &[&log_probability], &[], move |tape, _, _| vec![Some(tape.new_tensor(scored, Dtype::F32))]);
    tape.part = before;
    root
}
