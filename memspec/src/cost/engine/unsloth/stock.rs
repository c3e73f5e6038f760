//! Phi-3: Unsloth has no layer of its own for it, so transformers' (`transformers/models/phi3/modeling_phi3.py`) is compiled with PEFT's linears.

use super::super::super::Part;
use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::DecoderBlock;
use super::super::trl::{ACTIVATION_GRADIENTS, DENSE, POSITIONS};
use super::{Sizes, compile, layer};
use crate::model::Dtype;

/// What the backward needs.
#[derive(Debug, Default)]
pub(super) struct Saved {
    norms: Vec<Tensor>,
    /// Queries, keys and values in one, rotated queries and keys, output, log-sums, the mask as numbers.
    attention: Vec<Tensor>,
    residual: Option<Tensor>,
    /// Gate and up in one.
    gate_up: Option<Tensor>,
    /// The input of `down_proj`, for its adapter.
    product: Option<Tensor>,
    adapters: Vec<Tensor>,
}

/// Runs the layer.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    part: Part,
    first: bool,
) -> (Tensor, Saved) {
    let (shape, dtype) = (&sizes.shape, sizes.dtype);
    let mut saved = Saved::default();
    let dense = |tape: &mut Tape<'_>, name: &str| {
        sizes.unpacked(block, name).map(|elements| tape.new_as(DENSE, elements, dtype))
    };
    saved.norms.push(tape.new_as(part, shape.rows, Dtype::F32));
    let queries = tape.new_as(part, sizes.query, dtype);
    let unpacked = dense(tape, "qkv_proj");
    let joint = tape.new_as(part, sizes.query + 2 * sizes.key, dtype);
    compile::time_a_kernel(tape, sizes, first);
    drop(unpacked);
    let keys = tape.new_as(part, sizes.key, dtype);
    let mask = sizes.mask.map(|elements| tape.new_as(POSITIONS, elements, dtype));
    let output = tape.new_as(part, sizes.query, dtype);
    let log_sums = tape.new_as(part, sizes.log_sums, Dtype::F32);
    saved.attention.extend([queries, joint, keys, output, log_sums]);
    saved.attention.extend(mask);
    let unpacked = dense(tape, "o_proj");
    let projected = tape.new_as(part, sizes.hidden, dtype);
    drop(unpacked);
    saved.adapters.extend(layer::lower(tape, sizes, block, "o_proj", part));
    saved.residual = Some(tape.new_as(part, sizes.hidden, dtype));
    saved.norms.push(tape.new_as(part, shape.rows, Dtype::F32));
    let unpacked = dense(tape, "gate_up_proj");
    saved.gate_up = Some(tape.new_as(part, 2 * sizes.inner, dtype));
    drop(unpacked);
    let unpacked = dense(tape, "down_proj");
    let product = tape.new_as(part, sizes.inner, dtype);
    compile::time_a_kernel(tape, sizes, first);
    drop(unpacked);
    saved.adapters.extend(layer::lower(tape, sizes, block, "down_proj", part));
    saved.product = sizes.adapted("down_proj").then_some(product);
    let result = tape.new_as(part, sizes.hidden, dtype);
    drop(projected);
    (result, saved)
}

/// Its backward; returns the gradient of the layer's input.
pub(super) fn backward(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    mut saved: Saved,
    first: bool,
) -> Tensor {
    let (part, dtype) = (ACTIVATION_GRADIENTS, sizes.dtype);
    let dense = |tape: &mut Tape<'_>, name: &str| {
        sizes.unpacked(block, name).map(|elements| tape.new_as(DENSE, elements, dtype))
    };
    adapter_gradients(tape, sizes, block, "down_proj");
    saved.product = None;
    let from_adapter = tape.new_as(part, sizes.inner, dtype);
    let unpacked = dense(tape, "down_proj");
    let from_base = tape.new_as(part, sizes.inner, dtype);
    drop(unpacked);
    let gate_up = tape.new_as(part, 2 * sizes.inner, dtype);
    compile::time_a_kernel(tape, sizes, first);
    drop((from_adapter, from_base));
    saved.gate_up = None;
    let unpacked = dense(tape, "gate_up_proj");
    let input = tape.new_as(part, sizes.hidden, dtype);
    drop((unpacked, gate_up));
    saved.residual = None;
    saved.norms.pop();
    let attended = tape.new_as(part, sizes.query, dtype);
    adapter_gradients(tape, sizes, block, "o_proj");
    let unpacked = dense(tape, "o_proj");
    let from_base = tape.new_as(part, sizes.query, dtype);
    drop((unpacked, from_base));
    let [queries, keys] = [sizes.query, sizes.key].map(|elements| tape.new_as(part, elements, dtype));
    let values = tape.new_as(part, sizes.key, dtype);
    let workspace = tape.new_as(part, sizes.attention_workspace, Dtype::U8);
    drop((workspace, attended));
    saved.attention.clear();
    let joint = tape.new_as(part, sizes.query + 2 * sizes.key, dtype);
    drop((queries, keys));
    let unpacked = dense(tape, "qkv_proj");
    drop((unpacked, joint, values));
    input
}

fn adapter_gradients(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, name: &str) {
    let Some(adapter) = sizes.linear(block, name).and_then(|linear| linear.adapter.as_ref()) else { return };
    for matrix in adapter {
        if let Some(leaf) = matrix.tensor.leaf() {
            super::run::give(tape, leaf, matrix.tensor.elements);
        }
    }
}
