//! The engine `unsloth`: what Unsloth's `FastLanguageModel` allocates on PyTorch under TRL's `SFTTrainer`.
//!
//! Read from the sources of Unsloth and unsloth_zoo 2026.10.9 on torch 2.11, and from the code that Inductor generates for them: Unsloth compiles
//! every decoder layer as one region (`unsloth/models/_block_compile.py:1205`, called at `models/llama.py:3431`), so the layer's buffers are those
//! of three generated functions: without gradients, with, and backward. The files `layer` and `layer_backward` (and `stock` for Phi-3) follow their
//! allocations in order; `planned` the function without gradients, whose buffers Inductor cuts from a few pools.
//!
//! - `compile`: what exists only while a region is compiled: the first forward runs every layer with gradients on trial, and timing a kernel takes
//!   a buffer of the L2 cache's size.
//! - `checkpoint`: reentrant checkpoints, and inputs that go to the host through two buffers.
//! - `evaluation`: layers outside training are not compiled.
//! - `loss`: the head and cross entropy in chunks of rows, with the gradient made in forward.

mod checkpoint;
mod compile;
mod evaluation;
mod layer;
mod layer_backward;
mod loss;
mod merge;
mod planned;
mod rope;
mod run;
mod sizes;
mod stock;
mod stock_loss;
mod supported;

use super::super::expand::{self, Blocks, expand};
use super::super::torch::Tape;
use super::super::{CostError, Part, PhaseName, Trace, replay};
use super::trl::{ACTIVATION_GRADIENTS, RECOMPUTED, WEIGHTS, WORKSPACE, adapter, weights};
use crate::model::Dtype;
use crate::setup::Setup;
use sizes::Sizes;

/// Copies of the adapters' matrices in the type of the activations, and gradients before they get the parameters' layout.
const ADAPTER_COPIES: Part = Part { what: "16 bit copies of adapters", setting: "adapter.rank" };
/// Buffers that inputs of checkpoints pass through on their way to the host and back.
const STAGING: Part = Part { what: "staging buffers of checkpoints", setting: "train.activation_offload" };
/// Timing a generated kernel.
const BENCHMARK: Part = Part { what: "compiler's timing buffer", setting: "engine" };
/// Pools of the compiled layer that runs without gradients.
const POOLS: Part = Part { what: "one layer's buffers in forward", setting: "train.micro_batch" };

/// The trace of loading, building the trainer and two optimizer steps (the first compiles, and in the second states and workspaces are there), with
/// evaluation between them where the plan has it, and then saving and merging.
///
/// # Errors
/// What this engine does not cost.
pub fn trace(setup: &Setup) -> Result<Trace, CostError> {
    let (few, blocks) = few(setup)?;
    expand(&few, blocks).map_or_else(|| trace_in_full(setup), Ok)
}

/// The trace of as many blocks as stand for all, and how many they stand for.
pub(crate) fn few(setup: &Setup) -> Result<(Trace, Blocks), CostError> {
    let sizes = Sizes::new(setup)?;
    let blocks = sizes.shape.blocks();
    Ok((program(&sizes, blocks.few()), blocks))
}

/// The peak, without the allocator.
pub(crate) fn peak(setup: &Setup) -> Result<u64, CostError> {
    let sizes = Sizes::new(setup)?;
    let blocks = sizes.shape.blocks();
    let short = expand::peak(&program(&sizes, blocks.few()), blocks);
    Ok(short.unwrap_or_else(|| replay(&program(&sizes, blocks)).peak))
}

/// The same without repetition of blocks: slower, for comparison.
///
/// # Errors
/// As [`trace`].
pub fn trace_in_full(setup: &Setup) -> Result<Trace, CostError> {
    let sizes = Sizes::new(setup)?;
    let blocks = sizes.shape.blocks();
    Ok(program(&sizes, blocks))
}

fn program(sizes: &Sizes, blocks: Blocks) -> Trace {
    let mut tape = Tape::new(WEIGHTS);
    tape.gradient_part = ACTIVATION_GRADIENTS;
    tape.recompute_part = RECOMPUTED;
    tape.enter(PhaseName::Load);
    // Unsloth's import multiplies once (`unsloth/__init__.py`), which makes this thread's cuBLAS handle and its workspace.
    let workspace = tape.new_as(WORKSPACE, sizes.shape.workspace, Dtype::U8);
    let mut model = weights::load(&mut tape, &sizes.shape, blocks);
    // `LlamaRotaryEmbedding` keeps two tensors of one element (`unsloth/models/llama.py:2613`).
    let placeholders = [(); 2].map(|()| tape.new_as(WEIGHTS, 1, Dtype::F32));
    tape.enter(PhaseName::Init);
    adapter::add(&mut tape, &sizes.shape, &mut model);
    // `get_peft_model` ends with `clean_gpu_cache` (`unsloth/models/llama.py:5214`), and so does the trainer's start.
    tape.empty_cache();
    let trace = run::steps(&mut tape, sizes, &model, workspace);
    drop(placeholders);
    trace
}
