//! Tensor parallelism as transformers 5.17 does it (`transformers/distributed/tensor_parallel.py`, `tp_plan="auto"`). Read from its source.
//!
//! Every rank computes the whole batch. Projections to queries, keys, values, gate and up are split by columns, those back by rows: a rank has its share of heads
//! and of the MLP's width, and everything of the hidden width. An untied head, or a tied embedding, is split by words.

use super::super::super::super::Part;
use super::super::super::super::torch::{Tape, Tensor};
use super::super::Shape;
use super::super::weights::{Linear, Model};
use crate::model::Architecture;

/// Sums over the ranks: `torch.distributed._functional_collectives.all_reduce` gives a new tensor.
const SUMMED: Part = Part { what: "sums over the ranks", setting: "parallel" };
/// The whole head.
const WHOLE: Part = Part { what: "gathered head", setting: "parallel" };

/// Which axis of a linear's weight is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// Its outputs (`ColwiseParallel`).
    Outputs,
    /// Its inputs (`RowwiseParallel`).
    Inputs,
}

impl Axis {
    /// The axis on which the model's plan splits a linear (`base_model_tp_plan`).
    pub(crate) fn of(linear: &str) -> Self {
        if matches!(linear, "o_proj" | "down_proj") { Self::Inputs } else { Self::Outputs }
    }
}

/// A rank's share of the model.
pub(crate) fn local(model: &Architecture, world: u64) -> Architecture {
    let mut local = model.clone();
    local.heads /= world;
    local.kv_heads /= world;
    local.intermediate /= world;
    local
}

/// What the model's own modules do not do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    tied: bool,
    /// Elements of the whole head.
    head: u64,
}

impl Split {
    pub(super) fn new(shape: &Shape) -> Self {
        Self { tied: shape.model.tied_embeddings, head: shape.model.vocab * shape.model.hidden }
    }

    /// A tied embedding knows some of the words; what it gives is summed (`embedding_rowwise`).
    pub(super) fn after_embedding<'a>(self, tape: &mut Tape<'a>, x: Tensor) -> Tensor {
        if self.tied { reduced(tape, &x) } else { x }
    }

    /// The gradient of a tied embedding is made whole; this rank's words of it are cut out, and added to the head's (`embedding_dense_backward` of a `DTensor`).
    pub(crate) fn embedding_gradient(tape: &mut Tape<'_>, whole: Tensor, words: u64) -> Tensor {
        let cut = tape.new_tensor(words, whole.dtype);
        let sum = tape.new_tensor(words, whole.dtype);
        drop((whole, cut));
        sum
    }

    /// TRL gathers the head's weight (`trl/trainer/utils.py:1634`, `DTensor.full_tensor`); of its gradient a rank keeps its words.
    pub(super) fn whole_head(self, tape: &mut Tape<'_>, model: &Model) -> Tensor {
        let head = &model.head.as_ref().unwrap_or(&model.embedding).tensor;
        let (local, dtype) = (head.elements, head.dtype);
        let whole = tape.new_as(WHOLE, self.head, dtype);
        tape.custom(whole, &[head], &[], move |tape, _, _| vec![Some(tape.new_tensor(local, dtype))])
    }
}

/// `module(x)` of a linear that is split; `whole`: the linear itself.
pub(crate) fn forward<'a>(
    tape: &mut Tape<'a>,
    linear: &Linear,
    x: &Tensor,
    whole: impl Fn(&mut Tape<'a>, &Tensor) -> Tensor,
) -> Tensor {
    match linear.split {
        None => whole(tape, x),
        Some(Axis::Outputs) => {
            // Each rank has a part of the input's gradient (`DTensor.from_local` and its backward).
            let (view, elements, dtype) = (x.view(x.elements), x.elements, x.dtype);
            let x = tape.custom(view, &[x], &[], move |tape, _, _| vec![Some(tape.new_as(SUMMED, elements, dtype))]);
            whole(tape, &x)
        }
        Some(Axis::Inputs) => {
            let y = whole(tape, x);
            reduced(tape, &y)
        }
    }
}

/// The sum of `x` over the ranks, whose gradient is each rank's own.
fn reduced(tape: &mut Tape<'_>, x: &Tensor) -> Tensor {
    let sum = tape.new_as(SUMMED, x.elements, x.dtype);
    tape.custom(sum, &[x], &[], |_, _, gradients| vec![gradients[0].clone()])
}
