//! Forward and loss: what comes after the decoder, one way a file.

mod chunked;
mod liger;

use super::super::super::torch::{Tape, Tensor};
use super::parallel::Wrapper;
use super::weights::Model;
use super::{GRADIENTS, LOGITS, Shape, decoder};
use crate::plan::LossKind;

/// Forward and loss, a scalar.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model, wrapper: &'a Wrapper) -> Tensor {
    let last = decoder::forward(tape, shape, model, wrapper);
    tape.labelled(LOGITS, |tape| match shape.loss {
        LossKind::Liger => liger::loss(tape, shape, model, last),
        LossKind::Auto | LossKind::Chunked | LossKind::Whole => chunked::loss(tape, shape, model, wrapper, last),
    })
}
