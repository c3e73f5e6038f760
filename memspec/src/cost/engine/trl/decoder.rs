//! The decoder: embedding, blocks, final norm.

use super::super::super::torch::{Tape, Tensor};
use super::attention::{self, Positions};
use super::form::Rotation;
use super::parallel::Wrapper;
use super::parallel::tensor::Split;
use super::shape::Slides;
use super::weights::{DecoderBlock, Model, Norm};
use super::{ACTIVATION_GRADIENTS, INPUTS, POSITIONS, Shape, experts, mlp, norm, sinks, vision};
use crate::model::{Dtype, Family, VisionKind};

/// Tokens from which the embedding's backward sorts and sums in parts (`aten/src/ATen/native/cuda/Embedding.cu`).
const SORTED_EMBEDDING: u64 = 3072;

/// The hidden states that the head reads.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model, wrapper: &'a Wrapper) -> Tensor {
    wrapper.before_embedding(tape);
    let mut x = embed(tape, shape, model);
    x = wrapper.after_embedding(tape, x);
    let mut seen = None;
    if let (Some(tower), Some(vision)) = (&model.tower, &shape.model.vision)
        && shape.images.count > 0
    {
        let images = vision::see(tape, shape, (tower, wrapper), vision, &x);
        x = images.embeddings.clone();
        seen = Some(images);
    }
    // `inputs_embeds`, a local of the whole forward (`modeling_llama.py`, `LlamaModel.forward`).
    let _embeddings = x.clone();
    let positions = Tables::new(tape, shape, x.dtype);
    for (index, decoder) in model.blocks.iter().enumerate() {
        tape.at(Some(decoder.block));
        x = wrapper.before_block(tape, index, x);
        let positions = positions.of(shape, index as u64);
        x = if shape.checkpointing {
            let input = x.clone();
            input.storage.relabel(INPUTS);
            tape.checkpoint(Box::new(move |tape| block(tape, shape, decoder, &input, &positions)))
        } else {
            block(tape, shape, decoder, &x, &positions)
        };
        x = wrapper.after_block(tape, index, x);
        if let Some(seen) = &seen {
            x = seen.deepen(tape, shape, x, index);
        }
    }
    tape.at(None);
    x = wrapper.before_norm(tape, x);
    norm::forward(tape, shape, &x, &model.norm, shape.rows)
}

fn block(tape: &mut Tape<'_>, shape: &Shape, decoder: &DecoderBlock, x: &Tensor, positions: &Positions) -> Tensor {
    let norms = &decoder.norms;
    let mut hidden = normalized(tape, shape, x, norms.before_attention.as_ref());
    let (mut attended, weights) = if shape.model.attention_sinks {
        sinks::forward(tape, shape, decoder, &hidden, positions)
    } else {
        attention::forward(tape, shape, decoder, &hidden, positions)
    };
    if shape.model.parallel_residual {
        return parallel(tape, shape, decoder, x, hidden, &attended);
    }
    // StableLM has a name of its own for each (`modeling_stablelm.py:352`); elsewhere the next value takes the name.
    let _kept = shape.form.keeps_locals.then(|| (hidden.clone(), attended.clone()));
    drop(hidden);
    attended = normalized(tape, shape, &attended, norms.after_attention.as_ref());
    let residual = tape.add(x, &attended);
    drop(attended);
    hidden = normalized(tape, shape, &residual, norms.before_mlp.as_ref());
    hidden = match (&shape.model.experts, &decoder.experts) {
        (Some(experts), Some(weights)) => experts::forward(tape, shape, experts, weights, &hidden),
        _ => mlp::forward(tape, shape, decoder, &hidden),
    };
    hidden = normalized(tape, shape, &hidden, norms.after_mlp.as_ref());
    let output = tape.add(&residual, &hidden);
    drop(weights);
    output
}

/// The MLP beside the attention (`modeling_phi.py:246`, `modeling_gpt_neox.py:263`): it reads the block's input `x` through its
/// own norm, or what the attention read.
fn parallel(
    tape: &mut Tape<'_>,
    shape: &Shape,
    decoder: &DecoderBlock,
    x: &Tensor,
    normed: Tensor,
    attended: &Tensor,
) -> Tensor {
    let normed = match &decoder.norms.before_mlp {
        Some(norm) => {
            drop(normed);
            norm::forward(tape, shape, x, norm, shape.rows)
        }
        None => normed,
    };
    let fed = mlp::forward(tape, shape, decoder, &normed);
    // The MLP's own norm is no local.
    let _kept = decoder.norms.before_mlp.is_none().then_some(normed);
    let sum = tape.add(attended, &fed);
    tape.add(&sum, x)
}

fn normalized(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, norm: Option<&Norm>) -> Tensor {
    match norm {
        Some(norm) => norm::forward(tape, shape, x, norm, shape.rows),
        None => x.clone(),
    }
}

/// `embed_tokens`. With a frozen embedding, checkpointing asks for a gradient of its output (`enable_input_require_grads`).
fn embed<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model) -> Tensor {
    let elements = shape.rows * shape.model.hidden;
    let table = &model.lookup().tensor;
    let mut x = tape.new_tensor(elements, table.dtype);
    if table.requires_grad() {
        let (weights, dtype) = (shape.model.vocab * shape.model.hidden, x.dtype);
        let words = Some(table.elements).filter(|&words| words < weights);
        x = tape.custom(x, &[table], &[], move |tape, _, _| {
            let gradient = embedding_gradient(tape, shape, dtype);
            vec![Some(match words {
                Some(words) => Split::embedding_gradient(tape, gradient, words),
                None => gradient,
            })]
        });
        return if shape.form.scales_embedding { tape.scale(&x) } else { x };
    }
    if shape.form.scales_embedding {
        x = tape.scale(&x);
    }
    if shape.checkpointing {
        tape.leaf(&mut x, ACTIVATION_GRADIENTS, true);
    }
    x
}

/// The gradient of the whole embedding.
pub(in crate::cost::engine) fn embedding_gradient(tape: &mut Tape<'_>, shape: &Shape, dtype: Dtype) -> Tensor {
    let gradient = tape.new_tensor(shape.model.vocab * shape.model.hidden, dtype);
    if shape.rows > SORTED_EMBEDDING {
        // One partial sum a segment, in float32, and what the sort needs.
        let segments = shape.rows / 10 + shape.rows.min(shape.model.vocab);
        let _sums = tape.new_tensor(segments * shape.model.hidden, Dtype::F32);
        let _sort: Vec<Tensor> = (0..6).map(|_| tape.new_tensor(shape.rows, Dtype::I64)).collect();
    }
    gradient
}

/// What blocks find of positions: those that see all, and those that slide where they find something else.
struct Tables {
    all: Positions,
    sliding: Option<Positions>,
}

impl Tables {
    /// Cosines and sines in the activations' type, and the masks.
    fn new(tape: &mut Tape<'_>, shape: &Shape, dtype: Dtype) -> Self {
        tape.labelled(POSITIONS, |tape| {
            let tables = rotary(tape, shape, dtype);
            let slides = shape.slides();
            let all = Positions { mask: mask(tape, shape, dtype, slides == Slides::All), tables: Some(tables) };
            let sliding = (slides == Slides::Some).then(|| Positions {
                tables: if shape.form.own_tables { Some(rotary(tape, shape, dtype)) } else { all.tables.clone() },
                mask: mask(tape, shape, dtype, true),
            });
            Self { all, sliding }
        })
    }

    /// Those of the block at `index`.
    fn of(&self, shape: &Shape, index: u64) -> Positions {
        let kind = self.sliding.as_ref().filter(|_| shape.model.slides(index)).unwrap_or(&self.all);
        let rotates = shape.form.rotates(&shape.model, index);
        Positions { tables: kind.tables.clone().filter(|_| rotates), mask: kind.mask.clone() }
    }
}

fn rotary(tape: &mut Tape<'_>, shape: &Shape, dtype: Dtype) -> [Tensor; 2] {
    // Positions with several axes are each sample's own.
    let axes = shape.model.family == Family::Qwen2Vl
        || shape.model.vision.as_ref().is_some_and(|vision| matches!(vision.kind, VisionKind::Qwen3Vl { .. }));
    let samples = if axes { shape.attention.batch } else { 1 };
    let elements = shape.attention.tokens * samples * shape.form.rotated;
    let wide = matches!(shape.form.rotation, Rotation::WideTables | Rotation::WidePieces);
    let dtype = if wide { Dtype::F32 } else { dtype };
    let _frequencies = tape.new_tensor(elements, Dtype::F32);
    tape.product();
    [(); 2].map(|()| {
        let wide = tape.new_tensor(elements, Dtype::F32);
        tape.cast(&wide, dtype)
    })
}

/// The mask of layers that see all, or that slide: eager attention always has one, the fused kernels only where the samples reach the window or
/// have to be kept apart.
fn mask(tape: &mut Tape<'_>, shape: &Shape, dtype: Dtype, slides: bool) -> Option<Tensor> {
    let pairs = shape.attention.batch * shape.attention.tokens * shape.attention.tokens;
    if shape.eager || shape.model.attention_sinks {
        return Some(tape.new_tensor(pairs, dtype));
    }
    if shape.sees_both_ways() {
        // Causal, or of one image (`modeling_gemma3.py:709`, `create_masks_for_vision_model`): both conditions and what they give.
        let [_causal, _image] = [(); 2].map(|()| tape.new_tensor(pairs, Dtype::Bool));
        return Some(tape.new_tensor(pairs, Dtype::Bool));
    }
    if slides && shape.window_mask() {
        return Some(tape.new_tensor(pairs, Dtype::Bool));
    }
    shape.sample_mask().then(|| {
        // Causal, and of one sample or of no padding (`masking_utils.py`, `and_masks`): both conditions and what they give.
        let _causal = tape.new_tensor(shape.attention.tokens * shape.attention.tokens, Dtype::Bool);
        let _condition = shape.packed.then(|| tape.new_tensor(pairs, Dtype::Bool));
        tape.new_tensor(pairs, Dtype::Bool)
    })
}
