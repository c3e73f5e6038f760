//! Forward and loss: what comes after the decoder, one way a file.

mod asft;
mod chunked;
mod liger;
mod whole;

use super::super::super::torch::{Tape, Tensor};
use super::parallel::Wrapper;
use super::weights::Model;
use super::{GRADIENTS, LOGITS, Shape, decoder, experts};
use crate::plan::LossKind;

/// What a forward pass returns.
pub(super) struct Loss {
    /// The loss, a scalar.
    pub(super) loss: Tensor,
    /// The model's outputs, where the script keeps them.
    pub(super) outputs: Option<Tensor>,
}

/// Forward and loss.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model, wrapper: &'a Wrapper) -> Loss {
    let reference = asft::reference(tape, shape, model);
    let last = decoder::forward(tape, shape, model, wrapper);
    tape.labelled(LOGITS, |tape| {
        let Loss { loss, outputs } = match shape.loss {
            LossKind::Whole => whole::loss(tape, shape, model, wrapper, last),
            LossKind::Asft => Loss { loss: asft::loss(tape, shape, model, wrapper, (last, reference)), outputs: None },
            LossKind::Liger => Loss { loss: liger::loss(tape, shape, model, last), outputs: None },
            LossKind::Auto | LossKind::Chunked => {
                Loss { loss: chunked::loss(tape, shape, model, wrapper, last), outputs: None }
            }
        };
        Loss { loss: experts::balance::add(tape, shape, loss), outputs }
    })
}
