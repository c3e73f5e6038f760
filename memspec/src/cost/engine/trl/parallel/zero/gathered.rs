//! ZeRO 3 (`stage3.py`, `partition_parameters.py`): parameters are in parts too, and gathered while modules use them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::super::super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::super::optimizer::States;
use super::super::super::weights::{Model, Parameter, Trained};
use super::super::super::{ADAPTER, Shape, WEIGHTS};
use super::bucket::Bucket;
use super::coordinator::{Coordinator, Parameters};
use super::{GRADIENT_PART, MASTER, Zero, cast_parameters, norms, step_flat, trained};
use crate::model::Dtype;

/// Elements of a rank that are stepped together (`sub_group_size`).
const SUB_GROUP: u64 = 1_000_000_000;

/// What a rank holds beside its parts of the parameters.
#[derive(Debug)]
pub(crate) struct Gathered {
    zero: Zero,
    layers: usize,
    /// The place of the head among the parameters, and its elements.
    head: (usize, u64),
    sizes: BTreeMap<Leaf, u64>,
    /// Elements of a part of the largest trained parameter.
    largest: u64,
    /// Elements of this rank that are stepped together.
    groups: Vec<u64>,
    like: Option<Trained>,
    coordinator: RefCell<Coordinator>,
    bucket: RefCell<Bucket>,
    states: RefCell<Vec<States>>,
    /// Parts of the parameters in float32, and of the gradients.
    _resident: Vec<Tensor>,
}

/// A parameter that is in parts from the moment it is made (`zero.Init`): whole until it is split, and the part that stays.
pub(crate) fn partition(tape: &mut Tape<'_>, zero: Zero, mut tensor: Tensor) -> Tensor {
    let part = tape.new_as(WEIGHTS, tensor.elements.div_ceil(zero.world), tensor.dtype);
    tensor.storage = if zero.offload { tape.elsewhere() } else { part.storage };
    tensor
}

/// Parameters are gathered once more, module by module, to be filled from the checkpoint (`transformers/integrations/deepspeed.py`,
/// `_load_state_dict_into_zero3_model`); a full fine-tune reads it as float32. The largest has `elements`.
pub(crate) fn fill(tape: &mut Tape<'_>, zero: Zero, elements: u64, full: bool) {
    let whole = tape.new_as(super::coordinator::WHOLE, elements, zero.half);
    let read = full.then(|| tape.new_as(super::coordinator::WHOLE, elements, Dtype::F32));
    drop((whole, read));
}

impl Gathered {
    pub(in super::super) fn new(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model, zero: Zero) -> Self {
        tape.at(None);
        let Zero { world, offload, half, .. } = zero;
        let what = if shape.full { WEIGHTS } else { ADAPTER };
        cast_parameters(tape, model, half, |_| what);
        // What PEFT added is whole until now (`_convert_to_zero_parameters`).
        model.for_each_parameter(|parameter| {
            if !shape.full && parameter.trained.is_some() {
                parameter.tensor = partition(tape, zero, parameter.tensor.clone());
            }
        });
        let sizes = trained(tape, model);
        let parts: u64 = sizes.iter().map(|size| size.1.div_ceil(world)).sum();
        if !offload {
            defragment(tape, model, parts, half);
        }
        let groups = sub_groups(parts);
        let mut resident = Vec::new();
        for &group in groups.iter().filter(|_| !offload) {
            // `_create_fp32_partitions` (:1165): cast, then cloned.
            let cast = tape.new_as(MASTER, group, Dtype::F32);
            resident.push(tape.new_as(MASTER, group, Dtype::F32));
            drop(cast);
        }
        let largest_group = groups.iter().copied().max().unwrap_or(0);
        let mut bucket = Bucket::new(half);
        if offload {
            bucket.allocate(tape);
        } else {
            // `initialize_optimizer_states` (:1301): gradients for a moment, no states yet.
            drop(tape.new_as(GRADIENT_PART, largest_group, Dtype::F32));
            bucket.allocate(tape);
            // `grad_partitions_flat_buffer` (:771).
            resident.push(tape.new_as(GRADIENT_PART, parts, half));
        }
        let parameters = parameters(shape, model);
        Self {
            zero,
            layers: model.blocks.len(),
            head: (parameters.head, parameters.sizes[parameters.head]),
            largest: sizes.iter().map(|size| size.1.div_ceil(world)).max().unwrap_or(0),
            sizes: sizes.into_iter().collect(),
            states: RefCell::new(groups.iter().map(|_| States::default()).collect()),
            groups,
            like: model.trained.first().copied(),
            coordinator: RefCell::new(Coordinator::new(zero, parameters)),
            bucket: RefCell::new(bucket),
            _resident: resident,
        }
    }

    pub(in super::super) fn before_embedding(&self, tape: &mut Tape<'_>) {
        let mut coordinator = self.coordinator.borrow_mut();
        coordinator.reset(tape);
        coordinator.begin(tape, 0);
    }

    pub(in super::super) fn after_embedding<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        self.coordinator.borrow_mut().end(tape, 0);
        self.when_backward(tape, x, |this, tape| this.coordinator.borrow_mut().begin(tape, 2 * this.layers + 1))
    }

    pub(in super::super) fn before_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        self.coordinator.borrow_mut().begin(tape, 1 + index);
        let stage = 2 * self.layers - index;
        self.when_backward(tape, x, move |this, tape| this.coordinator.borrow_mut().end(tape, stage))
    }

    pub(in super::super) fn after_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        self.coordinator.borrow_mut().end(tape, 1 + index);
        let stage = 2 * self.layers - index;
        self.when_backward(tape, x, move |this, tape| this.coordinator.borrow_mut().begin(tape, stage))
    }

    /// The head for as long as TRL's loss reads it (`trl/trainer/utils.py:194`, `maybe_gather_lm_head_ctx`), unless it is gathered already.
    pub(in super::super) fn head(&self, tape: &mut Tape<'_>) -> Option<Tensor> {
        let (place, elements) = self.head;
        let gathered = self.coordinator.borrow().is_available(place);
        (!gathered).then(|| tape.new_as(super::coordinator::WHOLE, elements, self.zero.half))
    }

    /// `reduce_independent_p_g_buckets_and_remove_grads` (:1510).
    pub(in super::super) fn gradient_ready(&self, tape: &mut Tape<'_>, leaf: Leaf) {
        let Some(&elements) = self.sizes.get(&leaf) else { return };
        let mut bucket = self.bucket.borrow_mut();
        if !bucket.has_room(elements) && !bucket.is_empty() {
            bucket.reduce(tape, true);
        }
        bucket.add(tape, leaf, elements);
    }

    pub(in super::super) fn end_backward(&self, tape: &mut Tape<'_>) {
        tape.at(None);
        let mut bucket = self.bucket.borrow_mut();
        if !bucket.is_empty() {
            bucket.reduce(tape, true);
        }
        self.coordinator.borrow_mut().release_all();
        self.coordinator.borrow_mut().record();
    }

    /// Parts are stepped group by group, with their gradients joined and widened (:2683).
    pub(in super::super) fn step(&self, tape: &mut Tape<'_>, shape: &Shape) {
        tape.at(None);
        let mut coordinator = self.coordinator.borrow_mut();
        coordinator.release_all();
        norms(tape, self.largest);
        for (&group, states) in
            self.groups.iter().zip(self.states.borrow_mut().iter_mut()).filter(|_| !self.zero.offload)
        {
            let flat = tape.new_as(GRADIENT_PART, group, self.zero.half);
            let wide = tape.new_as(GRADIENT_PART, group, Dtype::F32);
            drop(flat);
            if let Some(like) = self.like {
                step_flat(tape, shape, like, group, states);
            }
            drop(wide);
        }
        coordinator.gather_persistent(tape);
        coordinator.record();
    }

    /// Runs `f` when `x`'s gradient is there.
    fn when_backward<'a>(
        &'a self,
        tape: &mut Tape<'a>,
        x: Tensor,
        f: impl FnOnce(&'a Self, &mut Tape<'a>) + 'a,
    ) -> Tensor {
        let view = x.view(x.elements);
        tape.custom(view, &[&x], &[], move |tape, _, gradients| {
            f(self, tape);
            vec![gradients[0].clone()]
        })
    }
}

/// `defragment` (`runtime/utils.py`): trained parts go to the host and come back in one tensor.
fn defragment(tape: &mut Tape<'_>, model: &mut Model, parts: u64, dtype: Dtype) {
    model.for_each_parameter(|parameter| {
        if parameter.trained.is_some() {
            parameter.tensor.storage = tape.elsewhere();
        }
    });
    tape.empty_cache();
    let flat = tape.new_as(WEIGHTS, parts, dtype);
    model.for_each_parameter(|parameter| {
        if parameter.trained.is_some() {
            parameter.tensor.storage = Rc::clone(&flat.storage);
        }
    });
}

fn sub_groups(parts: u64) -> Vec<u64> {
    let whole = usize::try_from(parts / SUB_GROUP).unwrap_or(0);
    let mut groups = vec![SUB_GROUP; whole];
    groups.extend(Some(parts % SUB_GROUP).filter(|&rest| rest > 0));
    groups
}

/// The model's parameters; the stages are the embedding, the blocks, the blocks backward, and the embedding where its output has a gradient.
fn parameters(shape: &Shape, model: &mut Model) -> Parameters {
    let mut sizes = vec![model.embedding.tensor.elements];
    let mut blocks = Vec::new();
    for block in &mut model.blocks {
        let first = sizes.len();
        block.for_each_parameter(&mut |parameter: &mut Parameter| sizes.push(parameter.tensor.elements));
        blocks.push((first..sizes.len()).collect::<Vec<usize>>());
    }
    sizes.push(model.norm.weight.tensor.elements);
    sizes.extend(model.head.as_ref().map(|head| head.tensor.elements));
    let head = if model.head.is_some() { sizes.len() - 1 } else { 0 };
    // A recomputed block runs its modules once more.
    let again = if shape.checkpointing { 2 } else { 1 };
    let mut stages = vec![(vec![0], 1)];
    stages.extend(blocks.iter().map(|params| (params.clone(), params.len())));
    stages.extend(blocks.iter().rev().map(|params| (params.clone(), again * params.len())));
    stages.push((vec![0], 1));
    Parameters { sizes, stages, head, recomputed: shape.checkpointing && !shape.full }
}
