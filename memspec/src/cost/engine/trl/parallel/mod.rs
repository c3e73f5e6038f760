//! Several devices sharing the work, seen from the rank that holds most, the first.

mod ddp;
mod fsdp2;
mod zero;

use super::super::super::torch::{Tape, Tensor};
use super::weights::Model;
use super::{Shape, Stored};
use crate::plan::{ParallelKind, Storage};
use crate::setup::{Parallel, Setup};

pub(crate) use ddp::Reducer;
pub(crate) use fsdp2::Groups;
pub(crate) use zero::Zero;

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
    /// DeepSpeed's ZeRO 1 or 2.
    Zero {
        /// Devices in all.
        world: u64,
        /// Gradients are partitioned too.
        gradients: bool,
    },
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
    },
}

impl Sharing {
    pub(super) fn new(setup: &Setup) -> Self {
        let Some(Parallel { kind, reshard, offload, .. }) = setup.parallel else { return Self::Alone };
        let world = setup.parallel.map_or(1, |parallel| parallel.world());
        match kind {
            _ if world < 2 => Self::Alone,
            ParallelKind::Fsdp2 => {
                let packed = setup.quantize.as_ref().is_none_or(|quantize| quantize.storage != Storage::Uint8);
                Self::Fsdp2 { world, reshard, offload, packed }
            }
            ParallelKind::Zero1 => Self::Zero { world, gradients: false },
            ParallelKind::Zero2 => Self::Zero { world, gradients: true },
            _ => Self::Ddp { world },
        }
    }

    /// The model is loaded and adapted in host memory: transformers loads for FSDP on the processor, but a quantized model where it was quantized.
    pub(super) fn loads_on_host(self, stored: Stored) -> bool {
        matches!(self, Self::Fsdp2 { .. }) && stored == Stored::Dense
    }

    /// Devices in all.
    pub(super) fn world(self) -> u64 {
        match self {
            Self::Alone => 1,
            Self::Ddp { world } | Self::Zero { world, .. } | Self::Fsdp2 { world, .. } => world,
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
    Zero(Box<Zero>),
    /// FSDP2.
    Fsdp2(Box<Groups>),
}

/// Wraps the model, as `accelerator.prepare` does.
pub(super) fn prepare(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) -> Wrapper {
    match shape.sharing {
        Sharing::Alone => Wrapper::None,
        Sharing::Ddp { .. } => Wrapper::Ddp(Box::new(Reducer::new(tape, model, shape.model.layers))),
        Sharing::Zero { gradients, .. } => Wrapper::Zero(Box::new(Zero::new(tape, shape, model, gradients))),
        Sharing::Fsdp2 { .. } => Wrapper::Fsdp2(Box::new(Groups::new(tape, shape, model))),
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

    /// Before the embedding.
    pub(super) fn before_embedding(&self, tape: &mut Tape<'_>) {
        if let Some(groups) = self.groups() {
            groups.before_embedding(tape);
        }
    }

    /// Between the embedding and the first block.
    pub(super) fn after_embedding<'a>(&'a self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.after_embedding(tape, x),
            None => x,
        }
    }

    /// Before a block.
    pub(super) fn before_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self {
            Self::Fsdp2(groups) => groups.before_block(tape, index, x),
            Self::Zero(zero) => {
                let (view, block) = (x.view(x.elements), tape.block());
                tape.custom(view, &[&x], &[], move |tape, _, gradients| {
                    zero.after_backward(tape, block);
                    vec![gradients[0].clone()]
                })
            }
            Self::None | Self::Ddp(_) => x,
        }
    }

    /// After a block.
    pub(super) fn after_block<'a>(&'a self, tape: &mut Tape<'a>, index: usize, x: Tensor) -> Tensor {
        match self.groups() {
            Some(groups) => groups.after_block(tape, index, x),
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
    pub(super) fn whole_head(&self, tape: &mut Tape<'_>) -> Option<Tensor> {
        self.groups().and_then(|groups| groups.whole_head(tape))
    }

    /// The model's forward, with the loss, has returned.
    pub(super) fn end_forward<'a>(&'a self, tape: &mut Tape<'a>, loss: Tensor) -> Tensor {
        match self {
            Self::Fsdp2(groups) => groups.end_forward(tape, loss),
            Self::Zero(zero) => {
                zero.end_forward(tape);
                loss
            }
            Self::None | Self::Ddp(_) => loss,
        }
    }

    /// The backward pass is over.
    pub(super) fn end_backward(&self, tape: &mut Tape<'_>) {
        match self {
            Self::None => {}
            Self::Ddp(reducer) => reducer.rebuild(tape),
            Self::Zero(zero) => zero.end_backward(tape),
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
    pub(super) fn steps(&self, tape: &mut Tape<'_>) -> bool {
        match self {
            Self::None | Self::Ddp(_) => false,
            Self::Zero(zero) => {
                zero.step(tape);
                true
            }
            Self::Fsdp2(groups) => groups.offloads(),
        }
    }
}
