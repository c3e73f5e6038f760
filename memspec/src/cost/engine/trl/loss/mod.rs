//! Forward and loss: what comes after the decoder, one way a file.

mod chunked;

use super::super::super::torch::{Tape, Tensor};
use super::parallel::Wrapper;
use super::weights::Model;
use super::{GRADIENTS, LOGITS, Shape, decoder};

/// Forward and loss, a scalar.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model, wrapper: &'a Wrapper) -> Tensor {
    let last = decoder::forward(tape, shape, model, wrapper);
    tape.labelled(LOGITS, |tape| chunked::loss(tape, shape, model, wrapper, last))
}
