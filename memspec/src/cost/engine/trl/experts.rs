//! A mixture of experts as transformers runs it: one grouped product over all tokens' copies (`transformers/integrations/moe.py:377`).
//!
//! Frozen experts save no inputs, only what their gating needs.

use super::super::super::torch::{Saves, Tape, Tensor};
use super::{ACTIVATION_GRADIENTS, Shape};
use crate::model::{Dtype, Experts};

/// `mlp(x)` of a block with experts.
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, experts: &Experts, x: &Tensor) -> Tensor {
    // Every token goes through several experts: so many rows.
    let rows = experts.per_token * shape.rows;
    let (hidden, inside) = (shape.model.hidden, experts.intermediate);
    let _order: Vec<Tensor> = (0..4).map(|_| tape.new_tensor(rows, Dtype::I64)).collect();
    let mut routing = tape.new_tensor(rows, x.dtype);
    if x.requires_grad() {
        tape.leaf(&mut routing, ACTIVATION_GRADIENTS, true);
    }
    let by_expert = tape.reshape_into(x, rows * hidden, Saves::Nothing, 0);
    let mut y = tape.reshape_into(&by_expert, rows * 2 * inside, Saves::Nothing, 0);
    if experts.bias {
        // Each row's bias is gathered into a whole tensor.
        let bias = tape.new_tensor(rows * 2 * inside, x.dtype);
        y = tape.add(&y, &bias);
        y = tape.reshape_into(&y, rows * 2 * inside, Saves::Nothing, 0);
        let gate = tape.slice(&y, rows * inside);
        let up = tape.slice(&y, rows * inside);
        y = clamped(tape, &gate, &up);
        drop((gate, up));
        y = down(tape, &y, rows * hidden, true);
    } else {
        let [gate, up] = tape.halves(&y);
        let active = tape.elementwise(&gate, Saves::Input);
        y = tape.multiply(&active, &up);
        drop((gate, up, active));
        y = down(tape, &y, rows * hidden, false);
    }
    let weighted = tape.multiply(&y, &routing);
    let ordered = tape.reshape_into(&weighted, rows * hidden, Saves::Nothing, 0);
    tape.reshape_into(&ordered, shape.rows * hidden, Saves::Nothing, 0)
}

fn down(tape: &mut Tape<'_>, x: &Tensor, elements: u64, biased: bool) -> Tensor {
    let bias = biased.then(|| tape.new_tensor(elements, x.dtype));
    let mut y = tape.reshape_into(x, elements, Saves::Nothing, 0);
    if let Some(bias) = &bias {
        y = tape.add(&y, bias);
        y = tape.reshape_into(&y, elements, Saves::Nothing, 0);
    }
    y
}

/// GPT-OSS' gating (`modeling_gpt_oss.py`): both clamped, gate times its scaled sigmoid, times up plus one.
fn clamped(tape: &mut Tape<'_>, gate: &Tensor, up: &Tensor) -> Tensor {
    let gate = tape.reshape_into(gate, gate.elements, Saves::Input, 1);
    let up = tape.reshape_into(up, up.elements, Saves::Input, 1);
    let scaled = tape.scale(&gate);
    let sigmoid = tape.elementwise(&scaled, Saves::Output);
    drop(scaled);
    let glu = tape.multiply(&gate, &sigmoid);
    drop(sigmoid);
    let shifted = tape.scale(&up);
    tape.multiply(&shifted, &glu)
}
