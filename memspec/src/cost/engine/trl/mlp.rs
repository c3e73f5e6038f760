//! The MLP of a dense block.

use super::super::super::torch::{Tape, Tensor};
use super::weights::DecoderBlock;
use super::{Shape, activation, linear};

/// `mlp(x)`: with a gate (`modeling_llama.py:163`), with gate and up in one (`modeling_phi3.py`), or without a gate (`modeling_phi.py`).
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, block: &DecoderBlock, x: &Tensor) -> Tensor {
    let rows = shape.rows;
    let act = shape.model.activation;
    match block.mlp.as_slice() {
        [gate, up, down] => {
            let gate = linear::forward(tape, gate, x, rows);
            let product = if shape.liger {
                let up = linear::forward(tape, up, x, rows);
                let product = tape.liger_silu_multiply(&gate, &up);
                drop((gate, up));
                product
            } else {
                let active = activation::forward(tape, act, block, &gate);
                drop(gate);
                let up = linear::forward(tape, up, x, rows);
                let product = tape.multiply(&active, &up);
                drop((active, up));
                product
            };
            linear::forward(tape, down, &product, rows)
        }
        [gate_up, down] if shape.model.gated_mlp => {
            let mut up = linear::forward(tape, gate_up, x, rows);
            let [gate, half] = tape.halves(&up);
            up = half;
            let active = activation::forward(tape, act, block, &gate);
            up = tape.multiply(&up, &active);
            drop(active);
            linear::forward(tape, down, &up, rows)
        }
        [up, down] => {
            let mut hidden = linear::forward(tape, up, x, rows);
            hidden = activation::forward(tape, act, block, &hidden);
            linear::forward(tape, down, &hidden, rows)
        }
        _ => x.clone(),
    }
}
