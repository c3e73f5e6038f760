//! DeepSpeed's ZeRO 1 and 2 (`deepspeed/runtime/zero/stage_1_and_2.py`, 0.19). Read from its source; no run was measured.
//!
//! The model computes in bf16 without autocast. Every rank keeps its part of the trained parameters in float32 with both of Adam's moments.

use std::cell::RefCell;

use super::super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::super::{Block, Part};
use super::super::weights::{Model, Parameter};
use super::super::{ADAPTER, STATES, Shape, WEIGHTS};
use super::ddp;
use crate::model::Dtype;

/// A rank's part of the trained parameters.
const MASTER: Part = Part { what: "float32 part of the trained parameters", setting: "parallel" };
/// A rank's part of the gradients.
const GRADIENT_PART: Part = Part { what: "part of the gradients", setting: "parallel" };
/// Gradients on their way.
const BUCKET: Part = Part { what: "reduce bucket", setting: "parallel" };
/// Elements of a bucket (`zero/config.py:113`, `reduce_bucket_size`).
const BUCKET_ELEMENTS: u64 = 500_000_000;

/// What a rank holds beside the model.
#[derive(Debug)]
pub(crate) struct Zero {
    /// Gradients are partitioned too: stage 2.
    partitions_gradients: bool,
    /// Elements of this rank's part.
    part: u64,
    leaves: Vec<(Option<Block>, Leaf)>,
    bucket: RefCell<Option<Tensor>>,
    gradients: RefCell<Option<Tensor>>,
    _states: [Tensor; 3],
}

impl Zero {
    pub(super) fn new(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model, partitions_gradients: bool) -> Self {
        tape.at(None);
        // `DeepSpeedEngine._configure_distributed_model`: `module.bfloat16()`.
        let part = if shape.full { WEIGHTS } else { ADAPTER };
        model.for_each_parameter(|parameter: &mut Parameter| {
            if parameter.tensor.dtype == Dtype::F32 {
                parameter.tensor.storage = tape.new_as(part, parameter.tensor.elements, Dtype::Bf16).storage;
                parameter.tensor.dtype = Dtype::Bf16;
                parameter.trained.iter().for_each(|trained| tape.retype(trained.leaf, Dtype::Bf16));
            }
        });
        let trained: u64 = ddp::sizes(tape, model, shape.model.layers).iter().map(|size| size.0).sum();
        let part = trained.div_ceil(shape.sharing.world());
        // `single_partition_of_fp32_groups` (:364), and the moments that `initialize_optimizer_states` makes.
        let states = [MASTER, STATES, STATES].map(|what| tape.new_as(what, part, Dtype::F32));
        Self {
            partitions_gradients,
            part,
            leaves: model.trained.iter().map(|trained| (trained.block, trained.leaf)).collect(),
            bucket: RefCell::default(),
            gradients: RefCell::default(),
            _states: states,
        }
    }

    /// Before backward (:964): the bucket, and at stage 2 the flat gradients of this rank's part (:2192).
    pub(super) fn end_forward(&self, tape: &mut Tape<'_>) {
        *self.bucket.borrow_mut() = Some(tape.new_as(BUCKET, BUCKET_ELEMENTS, Dtype::Bf16));
        if self.partitions_gradients && self.gradients.borrow().is_none() {
            *self.gradients.borrow_mut() = Some(tape.new_as(GRADIENT_PART, self.part, Dtype::Bf16));
        }
    }

    /// At stage 2 gradients move into the bucket as they come (:1455).
    pub(super) fn after_backward(&self, tape: &mut Tape<'_>, block: Option<Block>) {
        if self.partitions_gradients {
            for (_, leaf) in self.leaves.iter().filter(|(of, _)| *of == block) {
                drop(tape.take_gradient(*leaf));
            }
        }
    }

    pub(super) fn end_backward(&self, tape: &mut Tape<'_>) {
        self.after_backward(tape, None);
        drop(self.bucket.borrow_mut().take());
    }

    /// The gradients of this rank's part in float32 for the time of the step.
    pub(super) fn step(&self, tape: &mut Tape<'_>) {
        let wide = tape.new_as(GRADIENT_PART, self.part, Dtype::F32);
        for (block, leaf) in &self.leaves {
            tape.at(*block);
            drop(tape.take_gradient(*leaf));
        }
        tape.at(None);
        drop(self.gradients.borrow_mut().take());
        drop(wide);
    }
}
