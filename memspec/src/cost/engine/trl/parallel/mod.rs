//! Several devices sharing the work, seen from the rank that holds most, the first.

mod ddp;
mod fsdp2;
pub(super) mod supported;
pub(super) mod tensor;
mod zero;

use std::rc::Rc;

use super::super::super::torch::{Tape, Tensor};
use super::optimizer::States;
use super::weights::Model;
use super::{Shape, Stored};
use crate::model::Dtype;
use crate::plan::{ParallelKind, Precision, Storage};
use crate::setup::{Parallel, Setup};

pub(crate) use ddp::Reducer;
pub(crate) use fsdp2::Groups;
pub(crate) use zero::{Gathered, Partition, Zero, fill, partition};

/// How devices share a run of this engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// One device.
    Alone,
    /// A copy on each (`torch/nn/parallel/distributed.py`).
    Ddp {
        /// Devices in all.
        world: u64,
    },
    /// DeepSpeed's ZeRO.
    Zero(Zero),
    /// Parameters, gradients and states in shards (`torch/distributed/fsdp/_fully_shard`).
    Fsdp2 {
        /// Devices in all.
        world: u64,
        /// Gathered parameters go after forward.
        reshard: bool,
        /// Shards, their gradients and states rest in host memory.
        offload: bool,
        /// Packed 4 bit weights are sharded too: their storage is a floating type.
        packed: bool,
        /// The whole model is on the device before.
        load_whole: bool,
    },
    /// Every linear is split (`transformers/distributed/tensor_parallel.py`).
    Tensor {
        /// Devices in all.
        world: u64,
    },
}

impl Sharing {
    pub(super) fn new(setup: &Setup) -> Self {
        let Some(Parallel { kind, reshard, offload, load_whole, .. }) = setup.parallel else { return Self::Alone };
        let world = setup.parallel.map_or(1, |parallel| parallel.world());
        match kind {
            _ if world < 2 => Self::Alone,
            ParallelKind::Fsdp2 => {
                let packed = setup.quantize.as_ref().is_none_or(|quantize| quantize.storage != Storage::Uint8);
                Self::Fsdp2 { world, reshard, offload, packed, load_whole }
            }
            ParallelKind::Zero1 | ParallelKind::Zero2 | ParallelKind::Zero3 => {
                let stage = match kind {
                    ParallelKind::Zero1 => 1,
                    ParallelKind::Zero2 => 2,
                    _ => 3,
                };
                let half = if setup.train.precision == Precision::Fp16 { Dtype::F16 } else { Dtype::Bf16 };
                Self::Zero(Zero { world, stage, offload, half })
            }
            ParallelKind::Tensor => Self::Tensor { world },
            _ => Self::Ddp { world },
        }
    }

    /// The model is loaded and adapted in host memory: transformers loads for FSDP on the processor, but a quantized model where it was quantized.
    pub(super) fn loads_on_host(self, stored: Stored) -> bool {
        matches!(self, Self::Fsdp2 { load_whole: false, .. }) && stored == Stored::Dense
    }

    /// All blocks allocate alike, so few stand for all; ZeRO's buckets and what it gathers ahead go across blocks.
    pub(super) fn repeats(self) -> bool {
        !matches!(self, Self::Zero(_))
    }

    /// DeepSpeed's engine steps at the end of the last backward pass (`accelerate/utils/deepspeed.py`, `DeepSpeedEngineWrapper.backward`).
    pub(super) fn steps_in_backward(self) -> bool {
        matches!(self, Self::Zero(_))
    }

    /// Parameters are in parts from the moment they are made.
    pub(super) fn loads_in_parts(self) -> Option<Zero> {
        if let Self::Zero(zero) = self { Some(zero).filter(|zero| zero.stage == 3) } else { None }
    }

    /// Words that a rank has of a head, or of an embedding that is one.
    pub(super) fn words(self, vocab: u64) -> u64 {
        if let Self::Tensor { world } = self { vocab.div_ceil(world) } else { vocab }
    }

    /// Devices in all.
    pub(super) fn world(self) -> u64 {
        match self {
            Self::Alone => 1,
            Self::Ddp { world }
            | Self::Zero(Zero { world, .. })
            | Self::Fsdp2 { world, .. }
            | Self::Tensor { world } => world,
        }
    }
}

/// What wraps the model.
#[derive(Debug)]
pub(crate) enum Wrapper {
    /// Nothing.
    None,
    /// DDP.
    Ddp(Box<Reducer>),
    /// ZeRO 1 or 2.
    Partition(Box<Partition>),
    /// ZeRO 3.
    Gathered(Box<Gathered>),
    /// FSDP2.
    Fsdp2(Box<Groups>),
    /// Tensor parallelism.
    Tensor(tensor::Split),
}

/// Wraps the model, as `accelerator.prepare` does.
pub(super) fn prepare(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) -> Wrapper {
    match shape.sharing {
        Sharing::Alone => Wrapper::None,
        Sharing::Ddp { .. } => Wrapper::Ddp(Box::new(Reducer::new(tape, model, shape.blocks()))),
        Sharing::Zero(zero) if zero.stage == 3 => Wrapper::Gathered(Box::new(Gathered::new(tape, shape, model, zero))),
        Sharing::Zero(zero) => Wrapper::Partition(Box::new(Partition::new(tape, shape, model, zero))),
        Sharing::Fsdp2 { .. } => Wrapper::Fsdp2(Box::new(Groups::new(tape, shape, model))),
        Sharing::Tensor { .. } => Wrapper::Tensor(tensor::Split::new(shape)),
    }
}

impl Wrapper {
    fn groups(&self) -> Option<&Groups> {
        match self {
            Self::Fsdp2(groups) => Some(groups),
            _ => None,
        }
    }

    /// A micro batch begins; `last`: gradients are exchanged after it.
    pub(super) fn begin(&self, last: bool) {
        if let Some(groups) = self.groups() {
            groups.begin(last);
        }
    }

    /// Wishes to see gradients as they come.
    pub(super) fn watch<'a>(&'a self, tape: &mut Tape<'a>) {
        tape.gradient_hook = match self {
            Self::Partition(zero) => Some(Rc::new(|tape, leaf| zero.gradient_ready(tape, leaf))),
            Self::Gathered(zero) => Some(Rc::new(|tape, leaf| zero.gradient_ready(tape, leaf))),
            Self::None | Self::Ddp(_) | Self::Fsdp2(_) | Self::Tensor(_) => None,
        };
    }

    /// Before the embedding.
    pub(super) fn before_embedding(&self, tape: &mut Tape<'_>) {
        match self {
            Self::Fsdp2(groups) => groups.before_embedding(tape),
            Self::Gathered(zero) => zero.before_embedding(tape),
            Self::None | Self::Ddp(_) | Self::Partition(_) | Self::Tensor(_) => {}
        }
    }

    /// Between the embedding and the first block.
    pub(super) fn after_embedding<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        match self {
            Self::Fsdp2(groups) => groups.after_embedding(tape, x),
            Self::Gathered(zero) => zero.after_embedding(tape, x),
            Self::Tensor(split) => split.after_embedding(tape, x),
            Self::None | Self::Ddp(_) | Self::Partition(_) => x,
        }
    }

    /// Before a block.
    pub(super) fn before_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self {
            Self::Fsdp2(groups) => groups.before_block(tape, index, x),
            Self::Gathered(zero) => zero.before_block(tape, index, x),
            Self::None | Self::Ddp(_) | Self::Partition(_) | Self::Tensor(_) => x,
        }
    }

    /// After a block.
    pub(super) fn after_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self {
            Self::Fsdp2(groups) => groups.after_block(tape, index, x),
            Self::Gathered(zero) => zero.after_block(tape, index, x),
            Self::None | Self::Ddp(_) | Self::Partition(_) | Self::Tensor(_) => x,
        }
    }

    /// Before a block of the vision tower.
    pub(super) fn before_tower_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.before_tower_block(tape, index, x),
            None => x,
        }
    }

    /// After a block of the vision tower.
    pub(super) fn after_tower_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.after_tower_block(tape, index, x),
            None => x,
        }
    }

    /// Before the final norm.
    pub(super) fn before_norm<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.before_norm(tape, x),
            None => x,
        }
    }

    /// The head's weight, where the loss has to gather it itself.
    pub(super) fn whole_head(&self, tape: &mut Tape<'_>, model: &Model) -> Option<Tensor> {
        match self {
            Self::Fsdp2(groups) => groups.whole_head(tape),
            Self::Tensor(split) => Some(split.whole_head(tape, model)),
            Self::None | Self::Ddp(_) | Self::Partition(_) | Self::Gathered(_) => None,
        }
    }

    /// What is gathered while the loss reads the head's weight, forward and backward.
    pub(super) fn gathered_head(&self, tape: &mut Tape<'_>) -> Option<Tensor> {
        match self {
            Self::Gathered(zero) => zero.head(tape),
            _ => None,
        }
    }

    /// The model's forward, with the loss, has returned.
    pub(super) fn end_forward<'a>(&'a self, tape: &mut Tape<'a>, loss: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.end_forward(tape, loss),
            None => loss,
        }
    }

    /// The backward pass is over; `last`: of those before a step.
    pub(super) fn end_backward(&self, tape: &mut Tape<'_>, last: bool) {
        match self {
            Self::None | Self::Tensor(_) => {}
            Self::Ddp(reducer) => reducer.rebuild(tape),
            Self::Partition(zero) => zero.end_backward(tape, last),
            Self::Gathered(zero) => zero.end_backward(tape),
            Self::Fsdp2(groups) => groups.end_backward(tape),
        }
    }

    /// A checkpoint is written (`transformers/trainer.py`, `_save_checkpoint`). Tensors that are whole on this device go to the host one by one,
    /// which allocates nothing here.
    pub(super) fn save(&self, tape: &mut Tape<'_>, shape: &Shape) {
        if let Some(groups) = self.groups() {
            groups.save(tape, shape.full);
        }
    }

    /// Gradients are set to none.
    pub(super) fn zero(&self, tape: &mut Tape<'_>) {
        if let Some(groups) = self.groups() {
            groups.zero(tape);
        }
    }

    /// The wrapper's own optimizer step, if it has one: ZeRO's, or one on the processor.
    pub(super) fn steps(&self, tape: &mut Tape<'_>, shape: &Shape, states: &mut States) -> bool {
        match self {
            Self::None | Self::Ddp(_) | Self::Tensor(_) => false,
            Self::Partition(zero) => {
                zero.step(tape, shape, states);
                true
            }
            Self::Gathered(zero) => {
                zero.step(tape, shape);
                true
            }
            Self::Fsdp2(groups) => groups.offloads(),
        }
    }
}
