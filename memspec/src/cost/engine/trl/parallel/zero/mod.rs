//! DeepSpeed's ZeRO (`deepspeed/runtime/zero`, 0.19.8) as accelerate sets it up without a configuration file: DeepSpeed's own sizes of buckets, and the
//! optimizer that the trainer makes. Read from its source.
//!
//! The model computes in 16 bits without autocast. Every rank keeps its part of the trained parameters in float32, and steps that.

mod bucket;
mod coordinator;
mod gathered;
mod partition;

use super::super::super::super::Part;
use super::super::super::super::torch::{Leaf, Tape};
use super::super::optimizer::{self, States};
use super::super::weights::{Model, Parameter, Trained};
use super::super::{OPTIMIZER_WORK, Shape};
use crate::model::Dtype;

pub(crate) use gathered::{Gathered, fill, partition};
pub(crate) use partition::Partition;

/// How a run is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Zero {
    /// Devices in all.
    pub(crate) world: u64,
    /// 1: states are in parts; 2: gradients too; 3: parameters too.
    pub(crate) stage: u8,
    /// What is in parts rests in host memory.
    pub(crate) offload: bool,
    /// The type that the model computes in.
    pub(crate) half: Dtype,
}

/// A rank's part of the trained parameters.
const MASTER: Part = Part { what: "float32 part of the trained parameters", setting: "parallel" };
/// A rank's part of the gradients.
const GRADIENT_PART: Part = Part { what: "part of the gradients", setting: "parallel" };
/// Gradients on their way.
const BUCKET: Part = Part { what: "reduce bucket", setting: "parallel" };
/// Elements of a bucket (`zero/config.py:113`, `reduce_bucket_size`).
const BUCKET_ELEMENTS: u64 = 500_000_000;
/// Norms are summed in float64 (`zero/utils.py:59`, `get_norm_dtype`).
const NORM_BYTES: u64 = 8;

/// `DeepSpeedEngine._configure_distributed_model`: parameters are cast one after the other, unless they are in parts already.
fn cast_parameters(tape: &mut Tape<'_>, model: &mut Model, dtype: Dtype, part: impl Fn(&Parameter) -> Part) {
    model.for_each_parameter(|parameter: &mut Parameter| {
        if parameter.tensor.dtype == Dtype::F32 {
            parameter.tensor.storage = tape.new_as(part(parameter), parameter.tensor.elements, dtype).storage;
            parameter.tensor.dtype = dtype;
            parameter.trained.iter().for_each(|trained| tape.retype(trained.leaf, dtype));
        }
    });
}

/// The largest tensor of which a norm is taken (`get_grad_norm_direct`).
fn norms(tape: &mut Tape<'_>, largest: u64) {
    drop(tape.new_as(OPTIMIZER_WORK, largest * NORM_BYTES, Dtype::U8));
}

/// Steps the flat part of `elements`, as one parameter.
fn step_flat(tape: &mut Tape<'_>, shape: &Shape, like: Trained, elements: u64, states: &mut States) {
    let flat =
        Trained { shape: (1, elements), embedding: false, block: None, stepped: Some((elements, Dtype::F32)), ..like };
    let flat = optimizer::Parameter::new(tape, &flat);
    optimizer::update(tape, shape, &[flat], states);
}

/// Elements of the trained parameters, each with its leaf, in the model's order.
fn trained(tape: &Tape<'_>, model: &Model) -> Vec<(Leaf, u64)> {
    model.trained.iter().map(|trained| (trained.leaf, tape.leaf_type(trained.leaf).0)).collect()
}
