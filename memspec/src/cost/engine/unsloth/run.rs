//! The training loop: layers in forward, the loss, layers in backward, the optimizer.

use super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::{PhaseName, Trace};
use super::super::trl::parallel::Wrapper;
use super::super::trl::weights::{DecoderBlock, Model};
use super::super::trl::{
    ACTIVATION_GRADIENTS, ACTIVATIONS, EVALUATION, GRADIENTS, INPUTS, POSITIONS, RECOMPUTED, WORKSPACE, batch,
    optimizer,
};
use super::checkpoint::Staging;
use super::{Sizes, evaluation, layer, layer_backward, loss, merge, planned, rope, stock, stock_loss};
use crate::model::Dtype;

/// What a layer's forward left for its backward.
enum Kept {
    /// Its input, on the card or (`None`) on the host.
    Input(Option<Tensor>),
    /// Without checkpoints: its input and what the compiled forward saved.
    Saved(Tensor, Box<Saved>),
}

enum Saved {
    Fast(layer::Saved),
    Stock(stock::Saved),
}

/// Two optimizer steps, evaluation between them, a checkpoint and merging. The trace ends while everything that a later step would find is alive.
pub(super) fn steps(tape: &mut Tape<'_>, sizes: &Sizes, model: &Model, workspace: Tensor) -> Trace {
    let mut run = Run { sizes, model, staging: Staging::default(), tables: Vec::new(), workspaces: vec![workspace] };
    let mut scratch = evaluation::Scratch::default();
    let mut states = optimizer::States::default();
    let mut batch = Vec::new();
    for step in 0..2 {
        for micro in 0..sizes.shape.accumulate {
            tape.enter(PhaseName::Forward);
            batch = batch::make(tape, &sizes.shape, batch);
            run.micro_batch(tape, step, step == 0 && micro == 0);
        }
        tape.enter(PhaseName::Optimizer);
        optimizer::step(tape, &sizes.shape, model, &Wrapper::None, &mut states);
        if let Some(evaluation) = sizes.evaluation.as_ref().filter(|_| step == 0) {
            tape.enter(PhaseName::Evaluate);
            let before = batch::make(tape, &evaluation.shape, Vec::new());
            let batch = batch::make(tape, &evaluation.shape, before);
            run.evaluate(tape, evaluation, &mut scratch);
            drop(batch);
        }
    }
    // Adapters and states go to the host one by one, which allocates nothing here.
    tape.enter(PhaseName::Save);
    if sizes.shape.merge {
        tape.enter(PhaseName::Merge);
        drop(batch);
        merge::into_files(tape, sizes, model);
    }
    let trace = tape.recording();
    drop(scratch);
    trace
}

struct Run<'r> {
    sizes: &'r Sizes,
    model: &'r Model,
    staging: Staging,
    tables: Vec<Tensor>,
    workspaces: Vec<Tensor>,
}

impl Run<'_> {
    fn micro_batch(&mut self, tape: &mut Tape<'_>, step: u32, first: bool) {
        let (sizes, blocks) = (self.sizes, &self.model.blocks);
        let bf16 = Dtype::Bf16;
        // The embedding's output is a leaf that the graph refers to until its gradient comes.
        let embedded = tape.new_as(ACTIVATIONS, sizes.hidden, bf16);
        let positions = self.positions(tape, sizes);
        let mut kept: Vec<Kept> = Vec::new();
        let mut hidden = embedded.clone();
        for (index, block) in blocks.iter().enumerate() {
            tape.at(Some(block.block));
            let (input, last) = (hidden, index + 1 == blocks.len());
            hidden = if sizes.shape.checkpointing {
                let sent = self.staging.send(tape, sizes, step, last);
                if step == 0 && first {
                    // The first call without gradients tries the layer with gradients before (`_block_compile.py:1031`).
                    drop(self.forward(tape, block, RECOMPUTED, index == 0));
                }
                let output = planned::forward(tape, sizes, block, first && index == 0);
                input.storage.relabel(INPUTS);
                kept.push(Kept::Input((!sent).then_some(input)));
                output
            } else {
                let (output, saved) = self.forward(tape, block, ACTIVATIONS, first && index == 0);
                kept.push(Kept::Saved(input, Box::new(saved)));
                output
            };
        }
        tape.at(None);
        let norms = tape.new_as(ACTIVATIONS, sizes.shape.rows, Dtype::F32);
        let normed = tape.new_as(ACTIVATIONS, sizes.hidden, bf16);
        let gradient =
            if sizes.stock { stock_loss::forward(tape, sizes, true) } else { loss::forward(tape, sizes, true) };
        drop(normed);
        if step == 0 {
            // Unsloth's trainer empties the cache after the forward of every 250th step, the first among them
            // (`unsloth/models/rl.py`, `torch_empty_cache_steps`; `transformers/trainer.py`, `training_step`).
            tape.empty_cache();
        }
        tape.enter(PhaseName::Backward);
        // The loss is scaled; the last norm writes its gradient over the incoming one (`rms_layernorm.py`, `reuse_grad`), transformers' does not.
        let mut gradient = {
            let scaled = tape.new_as(ACTIVATION_GRADIENTS, sizes.hidden, bf16);
            drop(gradient);
            scaled
        };
        drop((hidden, norms));
        if sizes.stock {
            gradient = tape.new_as(ACTIVATION_GRADIENTS, sizes.hidden, bf16);
        }
        for (index, block) in blocks.iter().enumerate().rev() {
            tape.at(Some(block.block));
            let timed = first && index + 1 == blocks.len();
            let Some(left) = kept.pop() else { break };
            let (output, input, saved) = match left {
                Kept::Input(input) => {
                    let (output, saved) = self.forward(tape, block, RECOMPUTED, false);
                    (Some(output), input, saved)
                }
                Kept::Saved(input, saved) => (None, Some(input), *saved),
            };
            if self.workspaces.len() == 1 {
                // The backward engine's thread has a cuBLAS handle of its own.
                self.workspaces.push(tape.new_as(WORKSPACE, sizes.shape.workspace, Dtype::U8));
            }
            let before = gradient;
            gradient = match saved {
                Saved::Fast(saved) => layer_backward::run(tape, sizes, block, saved, timed),
                Saved::Stock(saved) => stock::backward(tape, sizes, block, saved, timed),
            };
            drop((output, before, input));
        }
        tape.at(None);
        drop((gradient, embedded, positions));
    }

    /// One batch of the evaluation. `sizes`: its own.
    fn evaluate(&mut self, tape: &mut Tape<'_>, sizes: &Sizes, scratch: &mut evaluation::Scratch) {
        // A local of the model's forward.
        let embedded = tape.new_as(EVALUATION, sizes.hidden, Dtype::Bf16);
        let positions = self.positions(tape, sizes);
        let mut hidden = embedded.clone();
        for block in &self.model.blocks {
            tape.at(Some(block.block));
            hidden = if sizes.stock {
                evaluation::stock_layer(tape, sizes, block)
            } else {
                evaluation::layer(tape, sizes, block, scratch)
            };
        }
        tape.at(None);
        let inverse = tape.new_as(EVALUATION, sizes.shape.rows, Dtype::F32);
        let normed = tape.new_as(EVALUATION, sizes.hidden, Dtype::Bf16);
        drop((hidden, embedded, inverse, positions));
        let gradient =
            if sizes.stock { stock_loss::forward(tape, sizes, false) } else { loss::forward(tape, sizes, false) };
        drop((normed, gradient));
        scratch.settle(tape);
    }

    /// The compiled layer with gradients.
    fn forward(&self, tape: &mut Tape<'_>, block: &DecoderBlock, part: super::Part, first: bool) -> (Tensor, Saved) {
        if self.sizes.stock {
            let (output, saved) = stock::forward(tape, self.sizes, block, part, first);
            (output, Saved::Stock(saved))
        } else {
            let (output, saved) = layer::forward(tape, self.sizes, block, part, first);
            (output, Saved::Fast(saved))
        }
    }

    /// Tables that are made once, or (transformers' layer) cosines, sines and a mask of this pass.
    fn positions(&mut self, tape: &mut Tape<'_>, sizes: &Sizes) -> Vec<Tensor> {
        if !sizes.stock {
            if self.tables.is_empty() {
                self.tables = rope::tables(tape, sizes);
            }
            return Vec::new();
        }
        let angles = sizes.shape.attention.tokens * sizes.shape.model.head_dim;
        let mut positions: Vec<Tensor> =
            sizes.mask.map(|elements| tape.new_as(POSITIONS, elements, Dtype::Bool)).into_iter().collect();
        positions.extend((0..2).map(|_| tape.new_as(POSITIONS, angles, Dtype::Bf16)));
        positions
    }
}

/// A gradient arrives at its parameter: the first is copied into the parameter's layout, a later one added in place.
pub(super) fn accumulate(tape: &mut Tape<'_>, leaf: Leaf, gradient: &Tensor) {
    give(tape, leaf, gradient.elements);
}

/// Sets a parameter's gradient where it has none.
pub(super) fn give(tape: &mut Tape<'_>, leaf: Leaf, elements: u64) {
    if let Some(before) = tape.take_gradient(leaf) {
        tape.give_gradient(leaf, before);
    } else {
        let made = tape.new_as(GRADIENTS, elements, Dtype::F32);
        tape.give_gradient(leaf, made);
    }
}
