//! A compiled layer without gradients, as checkpoints run it in forward. Inductor plans its memory: buffers are cut from a few pools, each as
//! large as what shares it at the same time.

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::DecoderBlock;
use super::{POOLS, Sizes, compile};
use crate::model::Dtype;

/// Runs the layer; returns its output. `first`: its kernels are timed on the way.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, first: bool) -> Tensor {
    let mut new = |elements| tape.new_as(POOLS, elements, Dtype::Bf16);
    // The attention's input and the layer's output share a pool.
    let output = new(sizes.hidden);
    let dense = |name: &str| sizes.unpacked(block, name).unwrap_or(0);
    let projected = if sizes.stock { 0 } else { dense("q_proj") + sizes.query + sizes.key };
    let mlp = if sizes.stock { "gate_up_proj" } else { "gate_proj" };
    let one_sample = sizes.shape.attention.batch == 1 && dense(mlp) > 0 && !sizes.stock;
    let (first_pool, gate_pool) = if one_sample {
        // Specialised to one sample: gate is beside the attention's buffers, unpacked weights beside up.
        (sizes.inner.max(dense("q_proj") + sizes.hidden), dense(mlp).max(sizes.inner))
    } else {
        (dense(mlp).max(sizes.query_padded).max(projected), sizes.inner * if sizes.stock { 2 } else { 1 })
    };
    let first_pool = if dense(mlp) == 0 { sizes.inner.max(sizes.query_padded) } else { first_pool };
    let unpacked = new(first_pool);
    let gate = new(gate_pool);
    let attention = new(sizes.query_padded);
    drop(attention);
    let residual = new(sizes.hidden);
    let up = new(sizes.inner);
    // Gate, up and their product exist together; without unpacked weights, or with one sample, the product takes the first pool.
    let product = (dense(mlp) > 0 && !one_sample && !sizes.stock).then(|| new(sizes.inner));
    compile::time_a_kernel(tape, sizes, first);
    drop((product, up, unpacked, residual, gate));
    output
}
