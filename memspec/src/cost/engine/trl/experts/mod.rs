//! A mixture of experts as transformers runs it by default: one grouped product over all tokens' copies, sorted by expert
//! (`transformers/integrations/moe.py:377`, `grouped_mm_experts_forward`).
//!
//! Nothing here has a size that depends on what the routers choose: a token goes through so many experts, whichever they are.

pub(super) mod adapter;
pub(super) mod balance;
mod packed;
mod router;
pub(super) mod weights;

use super::super::super::torch::{Saves, Tape, Tensor};
use super::weights::Linear;
use super::{Shape, linear};
use crate::model::{Dtype, Experts};
use router::Choice;
use weights::ExpertWeights;

/// Rows on their way through the experts: every token's copies, sorted by expert.
struct Sorted {
    rows: u64,
    /// Which row goes to which place.
    order: Tensor,
    /// Rows of experts that are on other devices: none here, and masked all the same.
    mask: Tensor,
}

/// `mlp(x)` of a block with experts.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    shape: &Shape,
    experts: &Experts,
    weights: &ExpertWeights,
    x: &Tensor,
) -> Tensor {
    // Qwen2-MoE's shared expert comes before its router, and is scaled by a gate of its own after the experts (`modeling_qwen2_moe.py:347`).
    let shared = match weights.shared.as_slice() {
        [gate, up, down, ..] => Some(shared_expert(tape, shape, [gate, up, down], x)),
        _ => None,
    };
    let (_logits, choice) = router::route(tape, shape, experts, weights, x);
    let y = adapter::with(tape, shape, weights, |tape, folded| run(tape, shape, experts, weights, folded, x, &choice));
    let (Some(mut shared), [_, _, _, gate]) = (shared, weights.shared.as_slice()) else { return y };
    let open = linear::forward(tape, gate, x, shape.rows);
    let open = tape.elementwise(&open, Saves::Output);
    shared = tape.multiply(&open, &shared);
    tape.add(&y, &shared)
}

fn shared_expert(tape: &mut Tape<'_>, shape: &Shape, [gate, up, down]: [&Linear; 3], x: &Tensor) -> Tensor {
    let gate = linear::forward(tape, gate, x, shape.rows);
    let active = tape.elementwise(&gate, Saves::Input);
    drop(gate);
    let up = linear::forward(tape, up, x, shape.rows);
    let product = tape.multiply(&active, &up);
    drop((active, up));
    linear::forward(tape, down, &product, shape.rows)
}

/// `grouped_mm_experts_forward`.
fn run(
    tape: &mut Tape<'_>,
    shape: &Shape,
    experts: &Experts,
    weights: &ExpertWeights,
    folded: &adapter::Folded,
    x: &Tensor,
    choice: &Choice,
) -> Tensor {
    let rows = experts.per_token * shape.rows;
    let (hidden, inside) = (shape.model.hidden, experts.intermediate);
    let ids = tape.new_tensor(rows, Dtype::I64);
    let order = tape.new_tensor(rows, Dtype::I64);
    let tokens = tape.new_tensor(rows, Dtype::I64);
    let selected = tape.gather_rows(x, &tokens, rows * hidden);
    drop(tokens);
    let scores = tape.gather_rows(&choice.scores, &order, rows);
    let _counted = tape.new_tensor(rows, Dtype::I32);
    let _counts = [(); 2].map(|()| tape.new_tensor(experts.count, Dtype::I32));
    let mask = tape.new_tensor(rows, Dtype::Bool);
    let sorted = Sorted { rows, order, mask };
    let mut bias = weights.gate_up.bias.as_ref().map(|bias| tape.gather_rows(&bias.tensor, &ids, rows * 2 * inside));
    let selected = tape.masked_fill(&selected, &sorted.mask, true);
    let gate_up = folded.gate_up(tape, shape, weights);
    let mut y = product(tape, shape, &selected, &gate_up, rows * 2 * inside, bias.as_ref());
    y = tape.masked_fill(&y, &sorted.mask, false);
    y = if experts.bias { clamped(tape, &y) } else { gated(tape, &y) };
    if let Some(down) = &weights.down.bias {
        bias = Some(tape.gather_rows(&down.tensor, &ids, rows * hidden));
    }
    let down = folded.down(tape, shape, weights);
    y = product(tape, shape, &y, &down, rows * hidden, bias.as_ref());
    y = tape.masked_fill(&y, &sorted.mask, false);
    combine(tape, shape, x, &y, &scores, &sorted)
}

/// `_grouped_linear`: the input takes the weight's type; autocast does not know this product.
fn product(
    tape: &mut Tape<'_>,
    shape: &Shape,
    x: &Tensor,
    weight: &Tensor,
    elements: u64,
    bias: Option<&Tensor>,
) -> Tensor {
    let x = tape.cast(x, weight.dtype);
    let y = tape.grouped_product(&x, weight, elements, shape.grouped);
    match bias {
        Some(bias) => tape.add_in_place(&y, bias),
        None => y,
    }
}

/// `_default_apply_gate`.
fn gated(tape: &mut Tape<'_>, gate_up: &Tensor) -> Tensor {
    let [gate, up] = tape.halves(gate_up);
    let active = tape.elementwise(&gate, Saves::Input);
    tape.multiply(&active, &up)
}

/// GPT-OSS' gating (`modeling_gpt_oss.py:83`): both clamped, gate times its scaled sigmoid, times up plus one.
fn clamped(tape: &mut Tape<'_>, gate_up: &Tensor) -> Tensor {
    let half = gate_up.elements / 2;
    let gate = tape.slice(gate_up, half);
    let up = tape.slice(gate_up, half);
    let gate = tape.reshape_into(&gate, half, Saves::Input, 1);
    let up = tape.reshape_into(&up, half, Saves::Input, 1);
    let scaled = tape.scale(&gate);
    let sigmoid = tape.elementwise(&scaled, Saves::Output);
    drop(scaled);
    let glu = tape.multiply(&gate, &sigmoid);
    drop(sigmoid);
    let shifted = tape.scale(&up);
    tape.multiply(&shifted, &glu)
}

/// Weighted, back in the tokens' order, and each token's copies summed.
fn combine(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, y: &Tensor, scores: &Tensor, sorted: &Sorted) -> Tensor {
    let rows = sorted.rows;
    let mut weighted = tape.multiply(y, scores);
    let back = tape.new_tensor(rows, Dtype::I64);
    drop(tape.new_tensor(rows, Dtype::I64));
    weighted = tape.gather_rows(&weighted, &back, y.elements);
    let sum = tape.reshape_into(&weighted, shape.rows * shape.model.hidden, Saves::Nothing, 0);
    let _order = &sorted.order;
    tape.cast(&sum, x.dtype)
}
