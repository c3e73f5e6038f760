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
    let logits = logits(tape, shape, model, wrapper, &last);
    let mut loss = cross_entropy(tape, shape, &logits);
    if shape.script.cuts_logits {
        // The model's own loss, from the labels that it was given, ends with its outputs.
        loss = of_log_probabilities(tape, shape, &logits);
    }
    if shape.script.converts_outputs && tape.autocast.is_some() {
        drop(tape.new_tensor(logits.elements, Dtype::F32));
    }
    Loss { loss, outputs: shape.script.keeps_outputs.then_some(logits) }
}

/// The head's output for every token.
pub(super) fn logits<'a>(
    tape: &mut Tape<'a>,
    shape: &Shape,
    model: &Model,
    wrapper: &Wrapper,
    last: &Tensor,
) -> Tensor {
    let gathered = wrapper.whole_head(tape, model);
    let head = gathered.as_ref().unwrap_or(&model.projection().tensor);
    tape.linear(last, head, None, shape.rows)
}

/// Labels moved by one, and cross entropy of all rows.
pub(super) fn cross_entropy(tape: &mut Tape<'_>, shape: &Shape, logits: &Tensor) -> Tensor {
    let wide = tape.cast(logits, Dtype::F32);
    let _padded = tape.new_tensor(shape.rows + shape.attention.batch, Dtype::I64);
    let labels = tape.new_tensor(shape.rows, Dtype::I64);
    negative_log_likelihood(tape, &wide, &labels, 1)
}

/// Log-probabilities of all tokens but the first, from a copy of the logits without the last (`llamafactory/v1/core/base_trainer.py:227`), and their weighted
/// mean.
fn of_log_probabilities(tape: &mut Tape<'_>, shape: &Shape, logits: &Tensor) -> Tensor {
    let rows = shape.rows - shape.attention.batch;
    let mut cut = tape.cast(logits, Dtype::F32);
    let labels = tape.new_tensor(rows, Dtype::I64);
    let _wide = cut.clone();
    // Where a sample goes on on another device, its labels are moved instead.
    if !shape.shares_samples {
        cut = tape.slice(&cut, rows * (logits.elements / shape.rows));
        cut = tape.copy(&cut);
    }
    let scores = negative_log_likelihood(tape, &cut, &labels, rows);
    let weights = tape.new_tensor(rows, Dtype::F32);
    let weighted = tape.multiply(&scores, &weights);
    let root = tape.new_tensor(1, Dtype::F32);
    tape.custom(root, &[&weighted], &[], move |tape, _, _| vec![Some(tape.new_tensor(rows, Dtype::F32))])
}

/// `nn.functional.cross_entropy`: log-probabilities, which are saved, and their mean, or one number of each row.
pub(super) fn negative_log_likelihood(tape: &mut Tape<'_>, wide: &Tensor, labels: &Tensor, numbers: u64) -> Tensor {
    let words = wide.elements;
    let log_probabilities = tape.new_tensor(words, Dtype::F32);
    let log_probabilities = {
        let saved = log_probabilities.view(words);
        tape.custom(log_probabilities, &[wide], &[&saved], move |tape, _, _| {
            vec![Some(tape.new_tensor(words, Dtype::F32))]
        })
    };
    let (loss, weight) = (tape.new_tensor(numbers, Dtype::F32), tape.new_tensor(1, Dtype::F32));
    tape.custom(loss, &[&log_probabilities], &[&log_probabilities, labels, &weight], move |tape, _, _| {
        vec![Some(tape.new_tensor(words, Dtype::F32))]
    })
}
