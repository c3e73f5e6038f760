//! The decoder: embedding, blocks, final norm.

use super::super::super::torch::{Tape, Tensor};
use super::attention::{self, Positions};
use super::parallel::Wrapper;
use super::parallel::tensor::Split;
use super::weights::{DecoderBlock, Model};
use super::{ACTIVATION_GRADIENTS, INPUTS, POSITIONS, Shape, experts, mlp, norm, sinks, vision};
use crate::model::{Dtype, Family};

/// Tokens from which the embedding's backward sorts and sums in parts (`aten/src/ATen/native/cuda/Embedding.cu`).
const SORTED_EMBEDDING: u64 = 3072;

/// The hidden states that the head reads.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model, wrapper: &'a Wrapper) -> Tensor {
    wrapper.before_embedding(tape);
    let mut x = embed(tape, shape, model);
    x = wrapper.after_embedding(tape, x);
    if let (Some(tower), Some(vision)) = (&model.tower, &shape.model.vision)
        && shape.patches > 0
    {
        x = vision::see(tape, shape, (tower, wrapper), vision, &x);
    }
    // `inputs_embeds`, a local of the model's forward.
    let _embeddings = x.clone();
    let positions = positions(tape, shape, x.dtype);
    for (index, decoder) in model.blocks.iter().enumerate() {
        tape.at(Some(decoder.block));
        x = wrapper.before_block(tape, index, x);
        x = if shape.checkpointing {
            let (input, positions) = (x.clone(), positions.clone());
            input.storage.relabel(INPUTS);
            tape.checkpoint(Box::new(move |tape| block(tape, shape, decoder, &input, &positions)))
        } else {
            block(tape, shape, decoder, &x, &positions)
        };
        x = wrapper.after_block(tape, index, x);
    }
    tape.at(None);
    x = wrapper.before_norm(tape, x);
    norm::rms(tape, shape, &x, &model.norm, shape.rows)
}

fn block(tape: &mut Tape<'_>, shape: &Shape, decoder: &DecoderBlock, x: &Tensor, positions: &Positions) -> Tensor {
    let mut hidden = norm::rms(tape, shape, x, &decoder.norms[0], shape.rows);
    let weights;
    (hidden, weights) = if shape.model.attention_sinks {
        sinks::forward(tape, shape, decoder, &hidden, positions)
    } else {
        attention::forward(tape, shape, decoder, &hidden, positions)
    };
    let residual = tape.add(x, &hidden);
    drop(hidden);
    let mut hidden = norm::rms(tape, shape, &residual, &decoder.norms[1], shape.rows);
    hidden = match &shape.model.experts {
        Some(experts) => experts::forward(tape, shape, experts, &hidden),
        None => mlp::forward(tape, shape, decoder, &hidden),
    };
    let output = tape.add(&residual, &hidden);
    drop(weights);
    output
}

/// `embed_tokens`. With a frozen embedding, checkpointing asks for a gradient of its output (`enable_input_require_grads`).
fn embed<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model) -> Tensor {
    let elements = shape.rows * shape.model.hidden;
    let table = &model.lookup().tensor;
    let mut x = tape.new_tensor(elements, table.dtype);
    if table.requires_grad() {
        let (weights, dtype) = (shape.model.vocab * shape.model.hidden, x.dtype);
        let words = Some(table.elements).filter(|&words| words < weights);
        return tape.custom(x, &[table], &[], move |tape, _, _| {
            let gradient = tape.new_tensor(weights, dtype);
            if shape.rows > SORTED_EMBEDDING {
                // One partial sum a segment, in float32, and what the sort needs.
                let segments = shape.rows / 10 + shape.rows.min(shape.model.vocab);
                let _sums = tape.new_tensor(segments * shape.model.hidden, Dtype::F32);
                let _sort: Vec<Tensor> = (0..6).map(|_| tape.new_tensor(shape.rows, Dtype::I64)).collect();
            }
            vec![Some(match words {
                Some(words) => Split::embedding_gradient(tape, gradient, words),
                None => gradient,
            })]
        });
    }
    if shape.checkpointing {
        tape.leaf(&mut x, ACTIVATION_GRADIENTS, true);
    }
    x
}

/// Cosines and sines in the activations' type, and the mask.
fn positions(tape: &mut Tape<'_>, shape: &Shape, dtype: Dtype) -> Positions {
    tape.labelled(POSITIONS, |tape| {
        let attention = shape.attention;
        // Positions with several axes are each sample's own.
        let samples = if shape.model.family == Family::Qwen2Vl { attention.batch } else { 1 };
        let elements = attention.tokens * samples * shape.model.head_dim;
        let _frequencies = tape.new_tensor(elements, Dtype::F32);
        tape.product();
        let wide = tape.new_tensor(elements, Dtype::F32);
        let cos = tape.cast(&wide, dtype);
        drop(wide);
        let wide = tape.new_tensor(elements, Dtype::F32);
        let sin = tape.cast(&wide, dtype);
        drop(wide);
        let pairs = attention.batch * attention.tokens * attention.tokens;
        let mut mask = (shape.eager || shape.model.attention_sinks).then(|| tape.new_tensor(pairs, dtype));
        if shape.window_mask() {
            mask = Some(tape.new_tensor(pairs, Dtype::Bool));
        } else if shape.sample_mask() && mask.is_none() {
            // Causal, and of one sample or of no padding (`masking_utils.py`, `and_masks`): both conditions and what they give.
            let causal = tape.new_tensor(attention.tokens * attention.tokens, Dtype::Bool);
            let condition = shape.packed.then(|| tape.new_tensor(pairs, Dtype::Bool));
            mask = Some(tape.new_tensor(pairs, Dtype::Bool));
            drop((causal, condition));
        }
        // Layers that slide and layers that do not have a mask each.
        let sliding = shape.model.attention_sinks.then(|| tape.new_tensor(pairs, dtype));
        Positions { cos, sin, mask, _sliding: sliding }
    })
}
