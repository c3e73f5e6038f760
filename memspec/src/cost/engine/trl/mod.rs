//! The engine `trl`: what transformers, PEFT, bitsandbytes and TRL's `SFTTrainer` allocate on PyTorch.
//!
//! Read from the sources of torch 2.11, transformers 5.17, TRL 1.15, PEFT 0.21, bitsandbytes 0.50 and Liger 0.8; line numbers in comments are theirs.
//! The functions here follow that Python's locals: what lives there while something is allocated lives here.

mod adapter;
mod attention;
mod batch;
mod decoder;
mod linear;
mod loss;
mod mlp;
mod norm;
mod optimizer;
mod shape;
mod supported;
mod weights;

use super::super::expand::{Blocks, expand};
use super::super::torch::Tape;
use super::super::{CostError, Part, PhaseName, Trace};
use crate::setup::Setup;

pub(crate) use shape::Shape;

/// Base weights.
pub(crate) const WEIGHTS: Part = Part { what: "base weights", setting: "quantize" };
/// Embedding and head.
pub(crate) const EMBEDDING: Part = Part { what: "embedding and head", setting: "model" };
/// Adapter matrices.
pub(crate) const ADAPTER: Part = Part { what: "adapter weights", setting: "adapter.rank" };
/// Gradients of what is trained.
pub(crate) const GRADIENTS: Part = Part { what: "gradients", setting: "adapter.rank" };
/// The optimizer's states.
pub(crate) const STATES: Part = Part { what: "optimizer states", setting: "train.optimizer" };
/// The optimizer's temporaries.
pub(crate) const OPTIMIZER_WORK: Part = Part { what: "optimizer temporaries", setting: "train.optimizer" };
/// Inputs of recomputed blocks.
pub(crate) const INPUTS: Part = Part { what: "block inputs", setting: "train.micro_batch" };
/// Activations of the forward pass.
pub(crate) const ACTIVATIONS: Part = Part { what: "activations", setting: "train.checkpointing" };
/// Activations that a block recomputes in backward.
pub(crate) const RECOMPUTED: Part = Part { what: "recomputed activations of one block", setting: "train.micro_batch" };
/// Gradients of activations.
pub(crate) const ACTIVATION_GRADIENTS: Part = Part { what: "gradients of activations", setting: "train.micro_batch" };
/// Weights unpacked for one product.
pub(crate) const DENSE: Part = Part { what: "dequantized weights", setting: "quantize" };
/// Inputs that int8 products keep.
pub(crate) const INT8_INPUTS: Part = Part { what: "inputs kept by int8 products", setting: "quantize" };
/// Logits and their statistics.
pub(crate) const LOGITS: Part = Part { what: "logits and loss", setting: "train.loss" };
/// Token ids, labels, masks, pixels.
pub(crate) const BATCH: Part = Part { what: "batch", setting: "train.micro_batch" };
/// Rotary tables and masks.
pub(crate) const POSITIONS: Part = Part { what: "positions and masks", setting: "data.context" };
/// cuBLAS' workspaces.
pub(crate) const WORKSPACE: Part = Part { what: "cuBLAS workspaces", setting: "device" };
/// Attention scores that exist as tensors.
pub(crate) const SCORES: Part = Part { what: "attention scores", setting: "train.attention" };

/// The trace of loading, building the trainer and two optimizer steps: in the second the states and both workspaces are there.
///
/// # Errors
/// What this engine does not cost.
pub fn trace(setup: &Setup) -> Result<Trace, CostError> {
    let shape = Shape::new(setup)?;
    let blocks = shape.blocks();
    Ok(expand(&program(&shape, blocks.few()), blocks).unwrap_or_else(|| program(&shape, blocks)))
}

/// The same without repetition of blocks: slower, for comparison.
///
/// # Errors
/// As [`trace`].
pub fn trace_in_full(setup: &Setup) -> Result<Trace, CostError> {
    let shape = Shape::new(setup)?;
    Ok(program(&shape, shape.blocks()))
}

fn program(shape: &Shape, blocks: Blocks) -> Trace {
    let mut model;
    let mut tape = Tape::new(WEIGHTS);
    tape.gradient_part = ACTIVATION_GRADIENTS;
    tape.recompute_part = RECOMPUTED;
    tape.enter(PhaseName::Load);
    model = weights::load(&mut tape, shape, blocks);
    tape.enter(PhaseName::Init);
    adapter::add(&mut tape, shape, &mut model);
    train(&mut tape, shape, &model)
}

/// Two optimizer steps. The trace ends while everything that a later step would find is alive.
fn train<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a weights::Model) -> Trace {
    let mut states = optimizer::States::default();
    let mut batch = Vec::new();
    let mut workspaces = Vec::new();
    for _ in 0..2 {
        for _ in 0..shape.accumulate {
            tape.enter(PhaseName::Forward);
            batch = batch::make(tape, shape, batch);
            if workspaces.is_empty() {
                workspaces.push(tape.new_as(WORKSPACE, shape.workspace, crate::model::Dtype::U8));
            }
            tape.part = ACTIVATIONS;
            tape.autocast = shape.autocast;
            let loss = loss::chunked(tape, shape, model);
            tape.end_autocast();
            tape.enter(PhaseName::Backward);
            if workspaces.len() == 1 {
                // The backward engine's thread has a handle of its own.
                workspaces.push(tape.new_as(WORKSPACE, shape.workspace, crate::model::Dtype::U8));
            }
            tape.backward(loss);
        }
        tape.enter(PhaseName::Optimizer);
        optimizer::step(tape, shape, model, &mut states);
    }
    tape.recording()
}
