//! The MLP of a dense block.

use super::super::super::torch::{Saves, Tape, Tensor};
use super::weights::DecoderBlock;
use super::{Shape, linear};

/// `mlp(x)` (`modeling_llama.py:163`, `modeling_phi3.py`).
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, block: &DecoderBlock, x: &Tensor) -> Tensor {
    let rows = shape.rows;
    match block.mlp.as_slice() {
        [gate, up, down] => {
            let gate = linear::forward(tape, gate, x, rows);
            let product = if shape.liger {
                let up = linear::forward(tape, up, x, rows);
                let product = tape.liger_silu_multiply(&gate, &up);
                drop((gate, up));
                product
            } else {
                let active = tape.elementwise(&gate, Saves::Input);
                drop(gate);
                let up = linear::forward(tape, up, x, rows);
                let product = tape.multiply(&active, &up);
                drop((active, up));
                product
            };
            linear::forward(tape, down, &product, rows)
        }
        [gate_up, down] => {
            let mut up = linear::forward(tape, gate_up, x, rows);
            let half = up.elements / 2;
            let gate = tape.slice(&up, half);
            up = tape.slice(&up, half);
            let active = tape.elementwise(&gate, Saves::Input);
            up = tape.multiply(&up, &active);
            drop(active);
            linear::forward(tape, down, &up, rows)
        }
        _ => x.clone(),
    }
}
