//! ZeRO 1 and 2 (`stage_1_and_2.py`): every rank has all weights; states, at stage 2 gradients too, are in parts.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::super::super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::optimizer::States;
use super::super::super::weights::{Model, Trained};
use super::super::super::{ADAPTER, Shape, WEIGHTS};
use super::bucket::Bucket;
use super::{BUCKET, GRADIENT_PART, MASTER, Zero, cast_parameters, norms, step_flat, trained};
use crate::model::Dtype;

/// What a rank holds beside the model.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Gradients are partitioned too: stage 2.
    gradients_too: bool,
    offload: bool,
    dtype: Dtype,
    /// Elements of this rank's part.
    part: u64,
    /// Elements of the largest trained parameter.
    largest: u64,
    /// In the order of the model.
    sizes: BTreeMap<Leaf, u64>,
    like: Option<Trained>,
    bucket: RefCell<Bucket>,
    /// `averaged_gradients`.
    gradients: RefCell<Option<Tensor>>,
    /// The part in float32, and where it is offloaded the buffer through which gradients come back.
    _resident: Vec<Tensor>,
}

impl Partition {
    pub(in super::super) fn new(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model, zero: Zero) -> Self {
        let Zero { world, stage, offload, half: dtype } = zero;
        tape.at(None);
        let what = if shape.full { WEIGHTS } else { ADAPTER };
        cast_parameters(tape, model, dtype, |_| what);
        let sizes = trained(tape, model);
        let all: u64 = sizes.iter().map(|size| size.1).sum();
        let largest = sizes.iter().map(|size| size.1).max().unwrap_or(0);
        let part = all.div_ceil(world);
        // All trained parameters are copied into one tensor, which they then are views of (:505).
        tape.empty_cache();
        let flat = tape.new_as(what, part * world, dtype);
        model.for_each_parameter(|parameter| {
            if parameter.trained.is_some() {
                parameter.tensor.storage = std::rc::Rc::clone(&flat.storage);
            }
        });
        // `single_partition_of_fp32_groups` (:560): cloned, then cast.
        let clone = tape.new_as(BUCKET, part, dtype);
        let mut resident = Vec::new();
        if !offload {
            resident.push(tape.new_as(MASTER, part, Dtype::F32));
        }
        drop(clone);
        if offload {
            // `temp_grad_buffer_for_gpu_offload` (:659).
            resident.push(tape.new_as(GRADIENT_PART, largest, dtype));
        } else {
            // `initialize_optimizer_states` (:935): gradients for a moment, no states yet.
            drop(tape.new_as(GRADIENT_PART, part, Dtype::F32));
        }
        Self {
            gradients_too: stage == 2,
            offload,
            dtype,
            part,
            largest,
            sizes: sizes.into_iter().collect(),
            like: model.trained.first().copied(),
            bucket: RefCell::new(Bucket::new(dtype)),
            gradients: RefCell::default(),
            _resident: resident,
        }
    }

    /// At stage 2 a gradient goes into the bucket as soon as it is there (:2287, `process_gradients`).
    pub(in super::super) fn gradient_ready(&self, tape: &mut Tape<'_>, leaf: Leaf) {
        if self.gradients_too || self.offload {
            self.collect(tape, leaf);
        }
    }

    fn collect(&self, tape: &mut Tape<'_>, leaf: Leaf) {
        let Some(&elements) = self.sizes.get(&leaf) else { return };
        self.bucket.borrow_mut().allocate(tape);
        if !self.bucket.borrow().has_room(elements) {
            self.reduce(tape);
        }
        self.bucket.borrow_mut().add(tape, leaf, elements);
    }

    /// `reduce_ipg_grads` (:2202).
    fn reduce(&self, tape: &mut Tape<'_>) {
        if self.bucket.borrow().is_empty() {
            return;
        }
        let largest = self.bucket.borrow_mut().reduce(tape, false);
        if self.offload {
            // To the host by way of float32, parameter by parameter, with its norm (`set_norm_for_param_grad_in_gpu`).
            norms(tape, largest.min(self.part));
            drop(tape.new_as(GRADIENT_PART, largest.min(self.part), Dtype::F32));
        } else if self.gradients.borrow().is_none() {
            *self.gradients.borrow_mut() = Some(tape.new_as(GRADIENT_PART, self.part, self.dtype));
        }
    }

    /// `last`: of the micro batches of a step. At stage 1 the gradients of all of them are exchanged only then (`reduce_gradients`, :953).
    pub(in super::super) fn end_backward(&self, tape: &mut Tape<'_>, last: bool) {
        tape.at(None);
        if last && !self.gradients_too && !self.offload {
            self.sizes.keys().for_each(|&leaf| self.collect(tape, leaf));
        }
        self.reduce(tape);
        // At stage 1 gradients of other ranks' parts are views of the buffer until the step.
        if self.gradients_too || self.offload || !last {
            self.bucket.borrow_mut().free();
        }
    }

    /// The gradients of this rank's part are joined and widened for the time of the step (:3100).
    pub(in super::super) fn step(&self, tape: &mut Tape<'_>, shape: &Shape, states: &mut States) {
        tape.at(None);
        if self.offload {
            return;
        }
        norms(tape, self.largest.min(self.part));
        self.bucket.borrow_mut().free();
        let flat = tape.new_as(GRADIENT_PART, self.part, self.dtype);
        let wide = tape.new_as(GRADIENT_PART, self.part, Dtype::F32);
        drop(flat);
        drop(self.gradients.borrow_mut().take());
        if let Some(like) = self.like {
            step_flat(tape, shape, like, self.part, states);
        }
        drop(wide);
    }
}
