//! Layers that run as their Python says: batches without padding. The samples lie in one row, and a layer that gets their lengths is left out of
//! compilation (`unsloth/models/_block_compile.py`, `unsloth_forward and packed_seq_lengths`).
//!
//! The layer is `LlamaDecoderLayer_fast_forward` (`unsloth/models/llama.py:1163`), on the tape as in PyTorch; its linears are in `fused`.

use std::rc::Rc;

use super::super::super::torch::{Tape, Tensor};
use super::super::super::{PhaseName, Trace};
use super::super::trl::parallel::Wrapper;
use super::super::trl::weights::{DecoderBlock, Model};
use super::super::trl::{ACTIVATION_GRADIENTS, ACTIVATIONS, EVALUATION, INPUTS, batch, optimizer};
use super::checkpoint::Staging;
use super::fused::{self, Scratch};
use super::sizes::Layers;
use super::{Sizes, loss, merge, pieces, rope, segments};
use crate::model::Dtype;

/// Two optimizer steps, evaluation between them, a checkpoint and merging.
pub(super) fn steps<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, model: &'a Model, scratch: &'a Scratch) -> Trace {
    let mut run = Run { sizes, model, scratch, staging: Staging::default(), tables: Vec::new() };
    let mut states = optimizer::States::default();
    let mut batch = Vec::new();
    for step in 0..2 {
        for micro in 0..sizes.shape.accumulate {
            tape.enter(PhaseName::Forward);
            batch = batch::make(tape, &sizes.shape, batch);
            tape.part = ACTIVATIONS;
            tape.autocast = sizes.shape.autocast;
            let hidden = run.forward(tape, step, step == 0 && micro == 0);
            let loss = loss::node(tape, sizes, model, hidden);
            tape.end_autocast();
            if step == 0 {
                // As in `run`: the trainer empties the cache after the forward of the first step.
                tape.empty_cache();
            }
            tape.enter(PhaseName::Backward);
            tape.backward(loss);
            if sizes.layers == Layers::Pieces {
                // Cosines and sines of this pass, which its checkpoints held.
                run.tables.clear();
            }
        }
        tape.enter(PhaseName::Optimizer);
        optimizer::step(tape, &sizes.shape, model, &Wrapper::None, &mut states);
        if let Some(evaluation) = sizes.evaluation.as_ref().filter(|_| step == 0) {
            tape.enter(PhaseName::Evaluate);
            let before = batch::make(tape, &evaluation.shape, Vec::new());
            let batch = batch::make(tape, &evaluation.shape, before);
            run.evaluate(tape, evaluation);
            drop(batch);
        }
    }
    merge::after(tape, sizes, model, batch)
}

/// The model, and what lives from one pass to the next.
struct Run<'a> {
    sizes: &'a Sizes,
    model: &'a Model,
    scratch: &'a Scratch,
    staging: Staging,
    tables: Vec<Tensor>,
}

impl<'a> Run<'a> {
    /// Embedding, layers and the last norm. `tries`: layers are run once before.
    fn forward(&mut self, tape: &mut Tape<'a>, step: u32, tries: bool) -> Tensor {
        let (sizes, model, scratch) = (self.sizes, self.model, self.scratch);
        let mut hidden = tape.new_tensor(sizes.hidden, sizes.dtype);
        // A gradient is asked for with and without checkpoints (`enable_input_require_grads`).
        tape.leaf(&mut hidden, ACTIVATION_GRADIENTS, true);
        if sizes.layers == Layers::Pieces {
            self.tables = pieces::positions(tape, sizes);
        } else if self.tables.is_empty() {
            self.tables = rope::tables(tape, sizes);
        }
        for (index, block) in model.blocks.iter().enumerate() {
            tape.at(Some(block.block));
            let run = move |tape: &mut Tape<'a>, x: &Tensor| match sizes.layers {
                Layers::Pieces => pieces::layer(tape, sizes, block, x),
                _ => layer(tape, sizes, block, scratch, x),
            };
            hidden = if sizes.shape.checkpointing {
                let sent = self.staging.send(tape, sizes, step, index + 1 == model.blocks.len());
                hidden.storage.relabel(INPUTS);
                if sizes.layers == Layers::Pieces && tries {
                    // The first call without gradients tries the layer with gradients before (`_block_compile.py:1031`).
                    tape.trial(&hidden, &run);
                }
                tape.reentrant(&hidden, !sent, Rc::new(run))
            } else {
                run(tape, &hidden)
            };
        }
        tape.at(None);
        match sizes.layers {
            Layers::Pieces => pieces::norm(tape, &hidden, sizes.shape.rows),
            _ => norm(tape, &hidden, sizes.shape.rows),
        }
    }

    /// One batch of the evaluation, without gradients. `sizes`: its own.
    fn evaluate(&self, tape: &mut Tape<'a>, sizes: &'a Sizes) {
        tape.autocast = sizes.shape.autocast;
        tape.grad_enabled = false;
        tape.part = EVALUATION;
        let mut hidden = tape.new_tensor(sizes.hidden, sizes.dtype);
        // A local of the model's forward.
        let embedded = hidden.clone();
        for block in &self.model.blocks {
            tape.at(Some(block.block));
            hidden = layer(tape, sizes, block, self.scratch, &hidden);
        }
        tape.at(None);
        let normed = norm(tape, &hidden, sizes.shape.rows);
        drop((hidden, embedded));
        loss::value(tape, sizes);
        drop(normed);
        tape.grad_enabled = true;
        tape.end_autocast();
    }
}

fn layer<'a>(
    tape: &mut Tape<'a>,
    sizes: &'a Sizes,
    block: &'a DecoderBlock,
    scratch: &'a Scratch,
    x: &Tensor,
) -> Tensor {
    let mut hidden = norm(tape, x, sizes.shape.rows);
    hidden = attention(tape, sizes, block, scratch, &hidden);
    let residual = tape.add(x, &hidden);
    hidden = norm(tape, &residual, sizes.shape.rows);
    hidden = fused::mlp(tape, sizes, block, scratch, &hidden);
    tape.add(&residual, &hidden)
}

/// `LlamaAttention_fast_forward` (`llama.py:1063`).
fn attention<'a>(
    tape: &mut Tape<'a>,
    sizes: &'a Sizes,
    block: &'a DecoderBlock,
    scratch: &'a Scratch,
    x: &Tensor,
) -> Tensor {
    let [q, k, v] = fused::projections(tape, sizes, block, scratch, x).map(|projected| tape.heads(&projected));
    let [q, k] = if sizes.shape.model.qk_norm { normed_rotation(tape, sizes, q, k) } else { rotation(tape, q, k) };
    let out = segments::attention(tape, sizes, [&q, &k, &v]);
    fused::output(tape, sizes, block, scratch, &out)
}

/// `Fast_RMS_Layernorm` (`kernels/rms_layernorm.py:950`): saves its input and the reciprocal norms; backward writes over the incoming gradient.
fn norm(tape: &mut Tape<'_>, x: &Tensor, rows: u64) -> Tensor {
    let y = tape.new_tensor(x.elements, x.dtype);
    let inverse = tape.new_tensor(rows, Dtype::F32);
    tape.custom(y, &[x], &[x, &inverse], |_, _, gradients| vec![gradients[0].clone()])
}

/// `Fast_RoPE_Embedding_QK` (`kernels/rope_embedding.py:423`): out of place with positions, both ways; what it read goes.
fn rotation(tape: &mut Tape<'_>, q: Tensor, k: Tensor) -> [Tensor; 2] {
    let rotated = [&q, &k].map(|x| tape.new_tensor(x.elements, x.dtype).rows_first(true));
    let rotated = tape.custom_many(rotated.into(), &[&q, &k], &[], |tape, _, gradients| {
        gradients.iter().flatten().map(|g| Some(tape.new_tensor(g.elements, g.dtype))).collect()
    });
    pair(rotated, [q, k])
}

/// Norms of queries and keys and the rotation in one (`kernels/qk_norm_rope.py`): saves what it read, and the reciprocal norms of each head.
fn normed_rotation(tape: &mut Tape<'_>, sizes: &Sizes, q: Tensor, k: Tensor) -> [Tensor; 2] {
    let model = &sizes.shape.model;
    let rotated = [&q, &k].map(|x| tape.new_tensor(x.elements, x.dtype).rows_first(true));
    let inverse = [model.heads, model.kv_heads].map(|heads| tape.new_tensor(sizes.shape.rows * heads, Dtype::F32));
    let saved = [&q, &k, &inverse[0], &inverse[1]];
    let rotated = tape.custom_many(rotated.into(), &[&q, &k], &saved, |tape, _, gradients| {
        gradients.iter().flatten().map(|g| Some(tape.new_tensor(g.elements, g.dtype).rows_first(true))).collect()
    });
    pair(rotated, [q, k])
}

fn pair(made: Vec<Tensor>, before: [Tensor; 2]) -> [Tensor; 2] {
    let [q, k] = before;
    let mut made = made.into_iter();
    [made.next().unwrap_or(q), made.next().unwrap_or(k)]
}
