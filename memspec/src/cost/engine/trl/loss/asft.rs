//! LLaMA-Factory's ASFT (`llamafactory/train/trainer_utils.py:686`): cross entropy weighted by each token's own probability, and the divergence from what a frozen
//! copy of the model says. Every step of it is a tensor of all logits in float32.

use super::super::super::super::torch::{Tape, Tensor};
use super::super::decoder;
use super::{LOGITS, Model, Shape, Wrapper, whole};
use crate::model::Dtype;

/// The frozen copy's logits, which the trainer holds until the step's loss is there (`llamafactory/train/sft/trainer.py:153`).
pub(super) fn reference<'a>(tape: &mut Tape<'a>, shape: &'a Shape, model: &'a Model) -> Option<Tensor> {
    let (frozen, shape) = model.reference.as_deref().zip(shape.reference.as_deref())?;
    let graph = std::mem::replace(&mut tape.grad_enabled, false);
    let last = decoder::forward(tape, shape, frozen, &Wrapper::None);
    let logits = tape.labelled(LOGITS, |tape| {
        let logits = whole::logits(tape, shape, frozen, &Wrapper::None, &last);
        converted(tape, shape, logits)
    });
    tape.grad_enabled = graph;
    Some(logits)
}

/// The loss of the decoder's output `last` beside the frozen copy's logits, a scalar.
pub(super) fn loss<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    model: &'a Model,
    wrapper: &'a Wrapper,
    (last, reference): (Tensor, Option<Tensor>),
) -> Tensor {
    let logits = whole::logits(tape, shape, model, wrapper, &last);
    // The model's own loss, from the labels that it was given; the outputs hold it.
    let _own = whole::cross_entropy(tape, shape, &logits);
    let logits = converted(tape, shape, logits);
    // Autocast is around the model, and the loss is made beside it.
    tape.end_autocast();
    let wide = tape.cast(&logits, Dtype::F32);
    let rows = shape.rows - shape.attention.batch;
    let words = rows * (logits.elements / shape.rows);
    let cut = tape.slice(&wide, words);
    let cut = tape.copy(&cut);
    let labels = tape.new_tensor(rows, Dtype::I64);
    let reference = reference.as_ref().unwrap_or(&logits);
    let cut_reference = tape.new_tensor(words, reference.dtype);
    let scores = whole::negative_log_likelihood(tape, &cut, &labels, rows);
    let divergence = divergence(tape, &cut, &cut_reference);
    tape.add(&scores, &divergence)
}

/// `_kl_divergence`: `kl_div` of all words, summed over each token's.
fn divergence<'a>(tape: &mut Tape<'a>, logits: &Tensor, reference: &Tensor) -> Tensor {
    let words = logits.elements;
    let log_p = tape.new_tensor(words, Dtype::F32);
    let saved = log_p.view(words);
    let log_p =
        tape.custom(log_p, &[logits], &[&saved], move |tape, _, _| vec![Some(tape.new_tensor(words, Dtype::F32))]);
    let q = tape.new_tensor(words, reference.dtype);
    // `xlogy(q, q) - q * log_p`
    let entropy = tape.new_tensor(words, reference.dtype);
    let product = tape.multiply(&log_p, &q);
    let difference = tape.new_tensor(words, Dtype::F32);
    drop(entropy);
    let difference =
        tape.custom(difference, &[&product], &[], move |tape, _, _| vec![Some(tape.new_tensor(words, Dtype::F32))]);
    drop(product);
    let root = tape.new_tensor(1, Dtype::F32);
    // The sum's gradient is only seen as often as there are words.
    tape.custom(root, &[&difference], &[], move |tape, _, _| vec![Some(tape.new_tensor(1, Dtype::F32))])
}

/// What accelerate makes of outputs under autocast (`accelerate/utils/operations.py`, `ConvertOutputsToFp32`).
fn converted(tape: &mut Tape<'_>, shape: &Shape, logits: Tensor) -> Tensor {
    if shape.script.converts_outputs && tape.autocast.is_some() { tape.cast(&logits, Dtype::F32) } else { logits }
}
