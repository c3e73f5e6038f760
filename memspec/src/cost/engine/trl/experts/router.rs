//! Routers: which experts a token goes through, and how much each counts.

use super::super::super::super::torch::{Saves, Tape, Tensor};
use super::super::{ACTIVATIONS, Shape};
use super::{ExpertWeights, adapter};
use crate::model::{Dtype, Experts, Family};

/// What a router says.
pub(super) struct Choice {
    /// How much each of a token's experts counts.
    pub(super) scores: Tensor,
    /// Which they are.
    pub(super) _indices: Tensor,
}

/// The logits, which the block keeps in a local, and the choice.
pub(super) fn route(
    tape: &mut Tape<'_>,
    shape: &Shape,
    experts: &Experts,
    weights: &ExpertWeights,
    x: &Tensor,
) -> (Tensor, Choice) {
    let (tokens, chosen) = (shape.rows, shape.rows * experts.per_token);
    let weight = adapter::router(tape, shape, weights);
    let bias = weights.router_bias.as_ref().map(|bias| &bias.tensor);
    let logits = tape.linear(x, &weight, bias, tokens);
    drop(weight);
    if shape.balanced {
        logits.storage.relabel(ACTIVATIONS);
        tape.capture(&logits);
    }
    if shape.model.family == Family::GptOss {
        // The best logits alone go through a softmax (`modeling_gpt_oss.py:128`).
        let (values, indices) = tape.top(&logits, chosen);
        let scores = tape.softmax(&values);
        return (logits, Choice { scores, _indices: indices });
    }
    let wide = tape.cast(&logits, Dtype::F32);
    let probabilities = tape.softmax(&wide);
    drop(wide);
    let (mut scores, indices) = tape.top(&probabilities, chosen);
    if shape.model.family != Family::Qwen2Moe {
        scores = normalized(tape, &scores, tokens);
    }
    if shape.model.family != Family::Mixtral {
        scores = tape.cast(&scores, logits.dtype);
    }
    (logits, Choice { scores, _indices: indices })
}

/// `values /= values.sum(dim=-1, keepdim=True)`: in place, so what was there is copied for backward.
fn normalized(tape: &mut Tape<'_>, values: &Tensor, tokens: u64) -> Tensor {
    let sum = tape.reshape_into(values, tokens, Saves::Nothing, 0);
    let before = tape.new_tensor(values.elements, values.dtype);
    let (elements, dtype) = (values.elements, values.dtype);
    let over = values.view(elements);
    tape.custom(over, &[values, &sum], &[&before, &sum], move |tape, _, _| {
        let _whole = tape.new_tensor(elements, dtype);
        vec![Some(tape.new_tensor(elements, dtype)), Some(tape.new_tensor(tokens, dtype))]
    })
}
