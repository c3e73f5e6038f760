//! transformers' own loss: all logits at once, and cross entropy in float32 (`transformers/loss/loss_utils.py:47`, `ForCausalLMLoss`).

use super::super::super::super::torch::{Tape, Tensor};
use super::{Loss, Model, Shape, Wrapper};
use crate::model::Dtype;

/// The loss of the decoder's output `last`.
pub(super) fn loss<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    model: &'a Model,
    wrapper: &'a Wrapper,
    last: Tensor,
) -> Loss {
    let gathered = wrapper.whole_head(tape, model);
    let head = gathered.as_ref().unwrap_or(&model.projection().tensor);
    let logits = tape.linear(&last, head, None, shape.rows);
    let loss = cross_entropy(tape, shape, &logits);
    if shape.script.converts_outputs && tape.autocast.is_some() {
        drop(tape.new_tensor(logits.elements, Dtype::F32));
    }
    Loss { loss, outputs: shape.script.keeps_outputs.then_some(logits) }
}

/// Labels moved by one, and `nn.functional.cross_entropy` of all rows: log-probabilities, which are saved, and their mean.
fn cross_entropy(tape: &mut Tape<'_>, shape: &Shape, logits: &Tensor) -> Tensor {
    let words = logits.elements;
    let wide = tape.cast(logits, Dtype::F32);
    let _padded = tape.new_tensor(shape.rows + shape.attention.batch, Dtype::I64);
    let labels = tape.new_tensor(shape.rows, Dtype::I64);
    let log_probabilities = tape.new_tensor(words, Dtype::F32);
    let log_probabilities = {
        let saved = log_probabilities.view(words);
        tape.custom(log_probabilities, &[&wide], &[&saved], move |tape, _, _| {
            vec![Some(tape.new_tensor(words, Dtype::F32))]
        })
    };
    let (loss, weight) = (tape.new_tensor(1, Dtype::F32), tape.new_tensor(1, Dtype::F32));
    tape.custom(loss, &[&log_probabilities], &[&log_probabilities, &labels, &weight], move |tape, _, _| {
        vec![Some(tape.new_tensor(words, Dtype::F32))]
    })
}
