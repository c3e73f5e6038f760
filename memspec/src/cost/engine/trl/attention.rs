//! Self attention with rotary positions.

use super::super::super::torch::{Tape, Tensor};
use super::weights::DecoderBlock;
use super::{SCORES, Shape, linear, norm};

/// What all blocks of a pass share: cosines and sines of positions, and a mask where the kernel needs one.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
    pub(crate) mask: Option<Tensor>,
    /// The mask of sliding layers, where they have one of their own.
    pub(crate) _sliding: Option<Tensor>,
}

/// The attention's output, and the weights that an eager layer keeps in a local.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    shape: &Shape,
    block: &DecoderBlock,
    x: &Tensor,
    positions: &Positions,
) -> (Tensor, Option<Tensor>) {
    let rows = shape.rows;
    let fused = block.input.len() == 1;
    let (mut q, mut k, v);
    if fused {
        let all = linear::forward(tape, &block.input[0], x, rows);
        let (queries, keys) = (rows * shape.model.query_width(), rows * shape.model.key_width());
        let mut part = |elements| {
            let part = tape.slice(&all, elements);
            tape.heads(&part)
        };
        (q, k, v) = (part(queries), part(keys), part(keys));
        return finish(tape, shape, block, [q, k, v], positions, Some(all));
    }
    q = linear::forward(tape, &block.input[0], x, rows);
    if let Some([query_norm, _]) = &block.head_norms {
        q = norm::rms(tape, shape, &q, query_norm, rows * shape.model.heads);
    }
    q = tape.heads(&q);
    k = linear::forward(tape, &block.input[1], x, rows);
    if let Some([_, key_norm]) = &block.head_norms {
        k = norm::rms(tape, shape, &k, key_norm, rows * shape.model.kv_heads);
    }
    k = tape.heads(&k);
    let values = linear::forward(tape, &block.input[2], x, rows);
    v = tape.heads(&values);
    drop(values);
    finish(tape, shape, block, [q, k, v], positions, None)
}

/// From queries, keys and values on; `all` is the fused projection's output, a local of the layer.
fn finish(
    tape: &mut Tape<'_>,
    shape: &Shape,
    block: &DecoderBlock,
    [mut q, mut k, v]: [Tensor; 3],
    positions: &Positions,
    all: Option<Tensor>,
) -> (Tensor, Option<Tensor>) {
    let fused = all.is_some();
    if shape.liger {
        let tables = [&positions.cos, &positions.sin];
        q = tape.in_place(&q, &tables);
        k = tape.in_place(&k, &tables);
    } else {
        let rotated = rotate(tape, &q, positions, fused);
        k = rotate(tape, &k, positions, fused);
        q = rotated;
    }
    if shape.eager {
        let (out, weights) =
            tape.labelled(SCORES, |tape| tape.eager_attention([&q, &k, &v], shape.attention, positions.mask.as_ref()));
        return (linear::forward(tape, &block.output, &out, shape.rows), Some(weights));
    }
    let mut v = v;
    let mut attention = shape.attention;
    if positions.mask.is_some() && attention.heads > attention.kv_heads {
        // With a mask PyTorch's kernels take no groups (`integrations/sdpa_attention.py:25`).
        [k, v] = [tape.repeat(&k, q.elements), tape.repeat(&v, q.elements)];
        attention.kv_heads = attention.heads;
    }
    let mut out = tape.fused_attention([&q, &k, &v], attention, positions.mask.as_ref());
    if !out.rows_first {
        out = tape.copy(&out);
    }
    (linear::forward(tape, &block.output, &out, shape.rows), None)
}

/// `apply_rotary_pos_emb` (`modeling_llama.py:138`); Phi-3's slices first and joins with what it does not rotate (`modeling_phi3.py`), here nothing.
pub(super) fn rotate(tape: &mut Tape<'_>, q: &Tensor, positions: &Positions, sliced: bool) -> Tensor {
    let (rotated, passed) =
        if sliced { (tape.slice(q, q.elements), Some(tape.slice(q, 0))) } else { (q.clone(), None) };
    let near = tape.multiply(&rotated, &positions.cos);
    let half = rotated.elements / 2;
    let (first, second) = (tape.slice(&rotated, half), tape.slice(&rotated, half));
    let minus = tape.scale(&second);
    let turned = tape.concatenate(&[&minus, &first], rotated.elements);
    drop((minus, first, second));
    let far = tape.multiply(&turned, &positions.sin);
    drop(turned);
    let sum = tape.add(&near, &far);
    drop((near, far));
    match passed {
        Some(passed) => tape.concatenate(&[&sum, &passed], q.elements),
        None => sum,
    }
}
