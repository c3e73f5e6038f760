//! Clipping, the optimizer's step and zeroing.

use super::super::super::torch::{Tape, Tensor};
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

/// States that live from the first step on.
#[derive(Debug, Default)]
pub(crate) struct States {
    tensors: Vec<Tensor>,
    made: bool,
}

/// One optimizer step: gradients are clipped by their norm, parameters stepped, gradients freed.
pub(super) fn step(tape: &mut Tape<'_>, shape: &Shape, model: &Model, states: &mut States) {
    let parameters: Vec<Parameter> = model.trained.iter().map(|trained| Parameter::new(tape, trained)).collect();
    let mut norms = Vec::new();
    each(tape, &parameters, |tape, _| norms.push(tape.new_as(OPTIMIZER_WORK, 1, Dtype::F32)));
    release(tape, &parameters, norms);
    let mut temporaries = Vec::new();
    let first = !std::mem::replace(&mut states.made, true);
    each(tape, &parameters, |tape, parameter| match shape.optimizer {
        OptimizerKind::Adafactor => {
            if first {
                states.tensors.extend(adafactor_states(tape, parameter));
            }
            adafactor_work(tape, parameter);
        }
        OptimizerKind::Adamw8bit | OptimizerKind::PagedAdamw8bit if first => {
            let paged = shape.optimizer == OptimizerKind::PagedAdamw8bit && parameter.elements >= MIN_PAGED;
            states.tensors.extend(eight_bit_states(tape, parameter, paged, 2));
        }
        OptimizerKind::PagedAdamw if first => {
            if parameter.elements < MIN_PAGED {
                states.tensors.extend([(); 2].map(|()| tape.new_as(STATES, parameter.elements, Dtype::F32)));
            }
        }
        OptimizerKind::Lion if first => {
            states.tensors.push(tape.new_as(STATES, parameter.elements, Dtype::F32));
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
        release(tape, &parameters, temporaries);
    }
    each(tape, &parameters, |tape, parameter| drop(tape.take_gradient(parameter.trained.leaf)));
}

struct Parameter {
    trained: Trained,
    elements: u64,
    dtype: Dtype,
}

impl Parameter {
    fn new(tape: &Tape<'_>, trained: &Trained) -> Self {
        let (elements, dtype) = tape.leaf_type(trained.leaf);
        Self { trained: *trained, elements, dtype }
    }
}

/// Runs `f` for each parameter, in its block.
fn each<'a>(tape: &mut Tape<'a>, parameters: &[Parameter], mut f: impl FnMut(&mut Tape<'a>, &Parameter)) {
    for parameter in parameters {
        tape.at(parameter.trained.block);
        f(tape, parameter);
    }
    tape.at(None);
}

/// Frees one tensor of each parameter.
fn release(tape: &mut Tape<'_>, parameters: &[Parameter], tensors: Vec<Tensor>) {
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
        vec![tape.new_as(STATES, rows, Dtype::F32), tape.new_as(STATES, columns, Dtype::F32)]
    } else {
        vec![tape.new_as(STATES, parameter.elements, Dtype::F32)]
    };
    states.push(tape.new_as(STATES, 1, Dtype::F32));
    states
}

/// `transformers/optimization.py`, `Adafactor.step`: float32 copies of gradient and parameter where they are not, and two tensors of work.
fn adafactor_work(tape: &mut Tape<'_>, parameter: &Parameter) {
    let copies = if parameter.dtype == Dtype::F32 { 0 } else { 2 };
    let _work: Vec<Tensor> =
        (0..copies + 2).map(|_| tape.new_as(OPTIMIZER_WORK, parameter.elements, Dtype::F32)).collect();
}
