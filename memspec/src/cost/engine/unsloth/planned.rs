//! A compiled layer without gradients, as checkpoints run it in forward. Inductor plans its memory: buffers are cut from a few pools, each as
//! large as what shares it at the same time.

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::DecoderBlock;
use super::{POOLS, Sizes, compile};

/// Runs the layer; returns its output. `first`: its kernels are timed on the way.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, first: bool) -> Tensor {
    let mut new = |elements| tape.new_as(POOLS, elements, sizes.dtype);
    // The attention's input and the layer's output share a pool.
    let output = new(sizes.hidden);
    let dense = |name: &str| sizes.unpacked(block, name).unwrap_or(0);
    let projected = if sizes.stock() { 0 } else { dense("q_proj") + sizes.query + sizes.key };
    let mlp = if sizes.stock() { "gate_up_proj" } else { "gate_proj" };
    // Where the activations are at least as large as the unpacked weights, the plan lets the two share: gate's buffer beside the attention's, unpacked
    // weights in up's. For one sample, a graph of its own, it always does.
    let shared = dense(mlp) > 0 && !sizes.stock() && (sizes.shape.attention.batch == 1 || sizes.inner >= dense(mlp));
    let (first_pool, gate_pool) = if shared {
        (sizes.inner.max(dense("q_proj") + sizes.hidden), dense(mlp).max(sizes.inner))
    } else {
        (dense(mlp).max(sizes.query_padded).max(projected), sizes.inner * if sizes.stock() { 2 } else { 1 })
    };
    let first_pool = if dense(mlp) == 0 { sizes.inner.max(sizes.query_padded) } else { first_pool };
    let unpacked = new(first_pool);
    let gate = new(gate_pool);
    let attention = new(sizes.query_padded);
    drop(attention);
    let residual = new(sizes.hidden);
    let up = new(sizes.inner);
    // Gate, up and their product exist together; without unpacked weights, or with shared pools, the product takes the first pool.
    let product = (dense(mlp) > 0 && !shared && !sizes.stock()).then(|| new(sizes.inner));
    compile::time_a_kernel(tape, sizes, first);
    drop((product, up, unpacked, residual, gate));
    output
}
