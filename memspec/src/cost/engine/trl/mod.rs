//! The engine `trl`: what transformers, PEFT, bitsandbytes and TRL's `SFTTrainer` allocate on PyTorch.
//!
//! Read from the sources of torch 2.11, transformers 5.17, TRL 1.15, PEFT 0.21, bitsandbytes 0.50 and Liger 0.8; line numbers in comments are theirs.
//! The functions here follow that Python's locals: what lives there while something is allocated lives here.

mod activation;
pub(super) mod adapter;
mod attention;
pub(super) mod batch;
pub(super) mod decoder;
mod dora;
mod experts;
mod form;
pub(super) mod linear;
mod loss;
pub(super) mod merge;
mod mlp;
mod norm;
pub(super) mod optimizer;
pub(super) mod parallel;
mod rotation;
mod script;
pub(super) mod shape;
mod sinks;
pub(super) mod supported;
mod upcast;
mod vision;
pub(super) mod weights;

use super::super::expand::{self, Blocks, expand};
use super::super::torch::Tape;
use super::super::{CostError, Part, PhaseName, Trace, replay};
use crate::setup::Setup;

pub(crate) use shape::{Shape, Stored};

/// Base weights.
pub(crate) const WEIGHTS: Part = Part { what: "base weights", setting: "quantize" };
/// Embedding and head.
pub(crate) const EMBEDDING: Part = Part { what: "embedding and head", setting: "model" };
/// Adapter matrices.
pub(crate) const ADAPTER: Part = Part { what: "adapter weights", setting: "adapter.rank" };
/// Copies of modules that are trained whole beside an adapter.
pub(crate) const WHOLE: Part = Part { what: "modules trained whole", setting: "adapter.train_whole" };
/// A frozen copy of the model that the loss compares with.
pub(crate) const REFERENCE: Part = Part { what: "reference model", setting: "train.loss" };
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

/// Activations of an evaluation.
pub(crate) const EVALUATION: Part = Part { what: "activations of the evaluation", setting: "eval.micro_batch" };
/// What an adapter adds to a weight, and the sum, while it is merged.
pub(crate) const MERGED: Part = Part { what: "merged weights", setting: "save.merge" };

/// The trace of loading, building the trainer, two optimizer steps (in the second the states and both workspaces are there), and then evaluation,
/// saving and merging, as the plan has them.
///
/// # Errors
/// What this engine does not cost.
pub fn trace(setup: &Setup) -> Result<Trace, CostError> {
    let (few, blocks) = few(setup)?;
    let Some(blocks) = blocks else { return Ok(few) };
    expand(&few, blocks).map_or_else(|| trace_in_full(setup), Ok)
}

/// The trace of as many blocks as stand for all, and how many they stand for; `None`: all of them are there, since they are not alike.
pub(crate) fn few(setup: &Setup) -> Result<(Trace, Option<Blocks>), CostError> {
    let shape = Shape::new(setup)?;
    let blocks = shape.blocks();
    Ok(match shape.repeats() {
        true => (program(&shape, blocks.few(), Steps::Two), Some(blocks)),
        false => (program(&shape, blocks, Steps::Two), None),
    })
}

/// The peak of one step that finds the optimizer's states, without the allocator.
pub(crate) fn peak(setup: &Setup) -> Result<u64, CostError> {
    let shape = Shape::new(setup)?;
    let blocks = shape.blocks();
    let short = shape.repeats().then(|| program(&shape, blocks.few(), Steps::Steady));
    let peak = short.and_then(|short| expand::peak(&short, blocks));
    Ok(peak.unwrap_or_else(|| replay(&program(&shape, blocks, Steps::Steady)).peak))
}

/// Which steps a program has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// The first, which makes the states, and one that finds them.
    Two,
    /// One that finds them.
    Steady,
}

/// The same without repetition of blocks: slower, for comparison.
///
/// # Errors
/// As [`trace`].
pub fn trace_in_full(setup: &Setup) -> Result<Trace, CostError> {
    let shape = Shape::new(setup)?;
    Ok(program(&shape, shape.blocks(), Steps::Two))
}

fn program(shape: &Shape, blocks: Blocks, steps: Steps) -> Trace {
    let mut model;
    let wrapper;
    let mut tape = Tape::new(WEIGHTS);
    tape.gradient_part = ACTIVATION_GRADIENTS;
    tape.recompute_part = RECOMPUTED;
    tape.on_host = shape.sharing.loads_on_host(shape.stored);
    tape.workspace = (shape.workspace, WORKSPACE);
    tape.multiprocessors = shape.multiprocessors;
    tape.enter(PhaseName::Load);
    model = weights::load(&mut tape, shape, blocks);
    tape.enter(PhaseName::Init);
    upcast::cast(&mut tape, shape, &mut model);
    adapter::add(&mut tape, shape, &mut model);
    tape.on_host = false;
    model.reference = shape.reference.as_ref().map(|frozen| {
        let mut reference = weights::load(&mut tape, frozen, blocks);
        reference.for_each_parameter(|parameter| parameter.tensor.storage.relabel(REFERENCE));
        Box::new(reference)
    });
    if shape.script.frees_cache {
        tape.empty_cache();
    }
    tape.keeps_inputs = shape.script.keeps_outputs;
    if shape.sharing != parallel::Sharing::Alone {
        tape.enter(PhaseName::Prepare);
    }
    wrapper = parallel::prepare(&mut tape, shape, &mut model);
    train(&mut tape, shape, &model, &wrapper, steps)
}

/// Two optimizer steps, evaluation between them, and what comes after: a checkpoint, merging. The trace ends while everything that a later step would
/// find is alive, or after merging.
fn train<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    model: &'a weights::Model,
    wrapper: &'a parallel::Wrapper,
    steps: Steps,
) -> Trace {
    let mut states = optimizer::States::default();
    let mut batch = Vec::new();
    // What the script's loop still refers to.
    let mut kept = None;
    wrapper.watch(tape);
    if steps == Steps::Steady {
        optimizer::step(tape, shape, model, wrapper, &mut states);
    }
    for step in 0..if steps == Steps::Two { 2 } else { 1 } {
        for micro in 1..=shape.accumulate {
            drop(kept.take());
            tape.release_inputs();
            wrapper.begin(micro == shape.accumulate);
            tape.enter(PhaseName::Forward);
            batch = batch::make(tape, shape, batch);
            tape.part = ACTIVATIONS;
            tape.autocast = shape.autocast;
            let loss::Loss { loss, outputs } = loss::forward(tape, shape, model, wrapper);
            let loss = wrapper.end_forward(tape, loss);
            tape.end_autocast();
            tape.enter(PhaseName::Backward);
            tape.backward(loss);
            wrapper.end_backward(tape, micro == shape.accumulate);
            kept = outputs;
        }
        if !shape.sharing.steps_in_backward() {
            tape.enter(PhaseName::Optimizer);
        }
        optimizer::step(tape, shape, model, wrapper, &mut states);
        if shape.sharing.steps_in_backward() {
            tape.enter(PhaseName::Optimizer);
        }
        // Between two steps (`transformers/trainer.py`, `_maybe_log_save_evaluate`): gradients are gone, states and the step's batch are not.
        if let Some(evaluation) = shape.evaluation.as_ref().filter(|_| step == 0) {
            tape.enter(PhaseName::Evaluate);
            evaluate(tape, evaluation, model, wrapper);
        }
    }
    tape.enter(PhaseName::Save);
    wrapper.save(tape, shape);
    if shape.merge {
        tape.enter(PhaseName::Merge);
        drop(batch);
        merge::into_base(tape, shape, model);
    }
    tape.recording()
}

/// One batch of the evaluation (`trl/trainer/sft_trainer.py:1677`, `prediction_step`): the loss alone, without gradients. Logits would be kept for
/// `compute_metrics` only, which a plan does not have.
fn evaluate<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a weights::Model, wrapper: &'a parallel::Wrapper) {
    // The loop's last batch goes once the next is on the card.
    let before = batch::make(tape, shape, Vec::new());
    let batch = batch::make(tape, shape, before);
    tape.grad_enabled = false;
    tape.part = EVALUATION;
    tape.autocast = shape.autocast;
    let loss = loss::forward(tape, shape, model, wrapper);
    drop(wrapper.end_forward(tape, loss.loss));
    tape.end_autocast();
    tape.grad_enabled = true;
    drop(batch);
}
