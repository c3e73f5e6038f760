//! Clipping, the optimizer's step and zeroing.

use super::super::super::torch::{Tape, Tensor};
use super::parallel::{Sharing, Wrapper};
use super::weights::{Model, Trained};
use super::{OPTIMIZER_WORK, STATES, Shape};
use crate::model::Dtype;
use crate::plan::OptimizerKind;

/// Tensors below this many elements keep 32 bit states (`bitsandbytes/optim/optimizer.py`, `min_8bit_size`).
const MIN_8BIT: u64 = 4096;
/// Elements that share one maximum of an 8 bit state (`bitsandbytes/functional.py`, blockwise).
const STATE_BLOCK: u64 = 256;
/// Tensors from this many elements on are paged (`bitsandbytes/optim/optimizer.py:374`).
const MIN_PAGED: u64 = 100_000;

/// Elements whose norm is one partial sum (`aten/src/ATen/native/cuda/ForeachReduceOp.cu`).
const NORM_CHUNK: u64 = 65_536;

/// States that live from the first step on.
#[derive(Debug, Default)]
pub(crate) struct States {
    tensors: Vec<Tensor>,
    made: bool,
}

/// One optimizer step: gradients are clipped by their norm, parameters stepped, gradients freed.
pub(in crate::cost::engine) fn step(
    tape: &mut Tape<'_>,
    shape: &Shape,
    model: &Model,
    wrapper: &Wrapper,
    states: &mut States,
) {
    if wrapper.steps(tape, shape, states) {
        return;
    }
    let mut parameters: Vec<Parameter> = model.trained.iter().map(|trained| Parameter::new(tape, trained)).collect();
    // The trainer's groups: what decays, which is matrices, then norms and biases.
    parameters.sort_by_key(|parameter| parameter.trained.shape.0 == 1);
    norms(tape, shape, &parameters);
    update(tape, shape, &parameters, states);
    each(tape, &parameters, |tape, parameter| drop(tape.take_gradient(parameter.trained.leaf)));
    wrapper.zero(tape);
}

/// The optimizer's own step.
pub(super) fn update(tape: &mut Tape<'_>, shape: &Shape, parameters: &[Parameter], states: &mut States) {
    let mut adafactor = Adafactor::default();
    let mut temporaries = Vec::new();
    let first = !std::mem::replace(&mut states.made, true);
    each(tape, parameters, |tape, parameter| match shape.optimizer {
        OptimizerKind::Adafactor => {
            if first {
                states.tensors.extend(adafactor_states(tape, parameter));
            }
            adafactor.step(tape, parameter);
        }
        OptimizerKind::Adamw8bit | OptimizerKind::PagedAdamw8bit if first => {
            let paged = shape.optimizer == OptimizerKind::PagedAdamw8bit && parameter.elements >= MIN_PAGED;
            states.tensors.extend(eight_bit_states(tape, parameter, paged, 2));
        }
        OptimizerKind::PagedAdamw if first && parameter.elements < MIN_PAGED => {
            states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, parameter.elements, Dtype::F32)));
        }
        OptimizerKind::Lion if first => {
            states.tensors.push(tape.new_as(STATES, parameter.elements, Dtype::F32));
        }
        OptimizerKind::Adamw | OptimizerKind::AdamwForeach if matches!(shape.sharing, Sharing::Tensor { .. }) => {
            // Split and whole parameters are no list for one kernel (`transformers/trainer_optimizer.py:208`): one after the other
            // (`torch/optim/adam.py`, `_single_tensor_adam`).
            if first {
                states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, parameter.elements, parameter.dtype)));
            }
            let root = tape.new_as(OPTIMIZER_WORK, parameter.elements, parameter.dtype);
            let corrected = tape.new_as(OPTIMIZER_WORK, parameter.elements, parameter.dtype);
            drop((root, corrected));
        }
        OptimizerKind::Adamw if first => {
            // The fused kernel's step count is on the device.
            states.tensors.push(tape.new_as(STATES, 1, Dtype::F32));
            states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, parameter.elements, parameter.dtype)));
        }
        OptimizerKind::AdamwForeach => {
            if first {
                states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, parameter.elements, parameter.dtype)));
            }
            // Square roots of all second moments at once (`torch/optim/adam.py`, `_multi_tensor_adam`).
            temporaries.push(tape.new_as(OPTIMIZER_WORK, parameter.elements, parameter.dtype));
        }
        _ => {}
    });
    if first && matches!(shape.optimizer, OptimizerKind::Adamw8bit | OptimizerKind::PagedAdamw8bit) {
        // The codes of both states.
        states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, 256, Dtype::F32)));
    }
    if !temporaries.is_empty() {
        release(tape, parameters, temporaries);
    }
}

/// The norm of all gradients, clipped or not (`transformers/trainer.py:1863`; `torch/nn/utils/clip_grad.py`): one of each, over partial sums of those of
/// one type.
fn norms(tape: &mut Tape<'_>, shape: &Shape, parameters: &[Parameter]) {
    let mut groups: Vec<(Dtype, Vec<&Parameter>)> = Vec::new();
    for parameter in parameters {
        match groups.iter_mut().find(|group| group.0 == parameter.dtype) {
            Some(group) => group.1.push(parameter),
            None => groups.push((parameter.dtype, vec![parameter])),
        }
    }
    let mut norms = Vec::new();
    for (_, group) in &groups {
        let mut made = Vec::new();
        each(tape, group.iter().copied(), |tape, _| made.push(tape.new_as(OPTIMIZER_WORK, 1, Dtype::F32)));
        norms.push(made);
        let largest = group.iter().map(|parameter| parameter.elements).max().unwrap_or(0);
        let count = shape.in_full(&group.iter().map(|parameter| parameter.trained.block).collect::<Vec<_>>());
        drop(tape.new_as(OPTIMIZER_WORK, count * largest.div_ceil(NORM_CHUNK), Dtype::F32));
    }
    for ((_, group), made) in groups.iter().zip(norms) {
        release(tape, group.iter().copied(), made);
    }
}

/// What is stepped: a parameter, or this rank's part of some.
pub(super) struct Parameter {
    trained: Trained,
    elements: u64,
    dtype: Dtype,
}

impl Parameter {
    pub(super) fn new(tape: &Tape<'_>, trained: &Trained) -> Self {
        let (elements, dtype) = trained.stepped.unwrap_or_else(|| tape.leaf_type(trained.leaf));
        Self { trained: *trained, elements, dtype }
    }
}

/// Runs `f` for each parameter, in its block.
fn each<'a, 'p>(
    tape: &mut Tape<'a>,
    parameters: impl IntoIterator<Item = &'p Parameter>,
    mut f: impl FnMut(&mut Tape<'a>, &Parameter),
) {
    for parameter in parameters {
        tape.at(parameter.trained.block);
        f(tape, parameter);
    }
    tape.at(None);
}

/// Frees one tensor of each parameter.
fn release<'p>(tape: &mut Tape<'_>, parameters: impl IntoIterator<Item = &'p Parameter>, tensors: Vec<Tensor>) {
    let mut tensors = tensors.into_iter();
    each(tape, parameters, |_, _| drop(tensors.next()));
}

/// `bitsandbytes/optim/optimizer.py`: a byte an element and a float32 maximum for 256; small tensors and, through the trainer
/// (`transformers/trainer.py:1296`), embeddings in float32.
fn eight_bit_states(tape: &mut Tape<'_>, parameter: &Parameter, paged: bool, moments: usize) -> Vec<Tensor> {
    let wide = parameter.elements < MIN_8BIT || parameter.trained.embedding;
    let mut states = Vec::new();
    if !paged {
        let dtype = if wide { Dtype::F32 } else { Dtype::U8 };
        states.extend((0..moments).map(|_| tape.new_as(STATES, parameter.elements, dtype)));
    }
    if !wide {
        let maxima = parameter.elements.div_ceil(STATE_BLOCK);
        states.extend((0..moments).map(|_| tape.new_as(STATES, maxima, Dtype::F32)));
    }
    states
}

/// A row and a column of second moments, or all of a vector's, and the root mean square.
fn adafactor_states(tape: &mut Tape<'_>, parameter: &Parameter) -> Vec<Tensor> {
    let (rows, columns) = parameter.trained.shape;
    let mut states = if rows > 1 {
        let columns = columns * parameter.trained.matrices;
        vec![tape.new_as(STATES, rows, Dtype::F32), tape.new_as(STATES, columns, Dtype::F32)]
    } else {
        vec![tape.new_as(STATES, parameter.elements, Dtype::F32)]
    };
    states.push(tape.new_as(STATES, 1, Dtype::F32));
    states
}

/// `transformers/optimization.py:1206`, `Adafactor.step`: locals of its loop, which live until the next parameter's are there.
#[derive(Default)]
struct Adafactor {
    gradient: Option<Tensor>,
    parameter: Option<Tensor>,
    update: Option<Tensor>,
}

impl Adafactor {
    fn step(&mut self, tape: &mut Tape<'_>, parameter: &Parameter) {
        let new = |tape: &mut Tape<'_>| tape.new_as(OPTIMIZER_WORK, parameter.elements, Dtype::F32);
        if parameter.dtype != Dtype::F32 {
            self.gradient = None;
            self.gradient = Some(new(tape));
            self.parameter = None;
            self.parameter = Some(new(tape));
        }
        let squares = new(tape);
        self.update = Some(new(tape));
        drop(squares);
        let (rows, columns) = parameter.trained.shape;
        if rows > 1 {
            let matrices = parameter.trained.matrices;
            drop(tape.labelled(OPTIMIZER_WORK, |tape| tape.reduction_staging(columns * matrices, rows / matrices)));
        }
        self.update = Some(new(tape));
        drop(new(tape));
    }
}
