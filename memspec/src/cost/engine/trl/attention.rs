//! Self attention with rotary positions.

use super::super::super::torch::{AttentionShape, Tape, Tensor};
use super::weights::{DecoderBlock, Norm};
use super::{SCORES, Shape, linear, norm, rotation};
use crate::model::Dtype;

/// What blocks of a pass share: cosines and sines of positions, and a mask where the kernel needs one.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    /// `None`: this layer does not rotate.
    pub(crate) tables: Option<[Tensor; 2]>,
    pub(crate) mask: Option<Tensor>,
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
    if let [joint] = block.input.as_slice() {
        let all = linear::forward(tape, joint, x, rows);
        let parts = if shape.form.joint_by_head {
            tape.thirds(&all)
        } else {
            let (queries, keys) = (rows * shape.model.query_width(), rows * shape.model.key_width());
            [queries, keys, keys].map(|elements| {
                let part = tape.slice(&all, elements);
                tape.heads(&part)
            })
        };
        // `all` is a local of the layer.
        return finish(tape, shape, block, parts, positions);
    }
    let parts = [0, 1, 2].map(|at| {
        let mut part = linear::forward(tape, &block.input[at], x, rows);
        let norms = block.head_norms.as_ref().filter(|_| !shape.form.norms_after_rotation);
        if let Some(norm) = norms.and_then(|norms| norms.get(at)) {
            part = normalize(tape, shape, &part, norm, at);
        }
        tape.heads(&part)
    });
    finish(tape, shape, block, parts, positions)
}

/// The norm of queries (`at` 0) or of keys, over each head or over all together.
fn normalize(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, norm: &Norm, at: usize) -> Tensor {
    let heads = if at == 0 { shape.model.heads } else { shape.model.kv_heads };
    let rows = if shape.model.qk_norm_spans_heads { shape.rows } else { shape.rows * heads };
    norm::forward(tape, shape, x, norm, rows)
}

/// From queries, keys and values on.
fn finish(
    tape: &mut Tape<'_>,
    shape: &Shape,
    block: &DecoderBlock,
    [mut q, mut k, v]: [Tensor; 3],
    positions: &Positions,
) -> (Tensor, Option<Tensor>) {
    let mut _kept = Vec::new();
    if let Some(tables) = &positions.tables {
        if shape.liger {
            q = tape.in_place(&q, &[&tables[0], &tables[1]]);
            k = tape.in_place(&k, &[&tables[0], &tables[1]]);
        } else {
            let rotated = rotation::apply(tape, shape.form, shape.model.head_dim, [&q, &k], tables);
            (q, k, _kept) = (rotated.queries, rotated.keys, rotated.kept);
        }
    }
    if let Some([query, key]) = block.head_norms.as_ref().filter(|_| shape.form.norms_after_rotation) {
        q = normalize(tape, shape, &q, query, 0);
        k = normalize(tape, shape, &k, key, 1);
    }
    if shape.form.scales_queries {
        let scales = tape.new_tensor(shape.attention.tokens, q.dtype);
        q = tape.multiply(&q, &scales);
    }
    if shape.eager {
        let (out, weights) =
            tape.labelled(SCORES, |tape| tape.eager_attention([&q, &k, &v], shape.attention, positions.mask.as_ref()));
        return (linear::forward(tape, &block.output, &out, shape.rows), Some(weights));
    }
    let mut v = v;
    if shape.shares_samples {
        [q, k, v] = [q, k, v].map(|part| exchange(tape, &part));
    }
    let mut out = fused(tape, shape.attention, [&q, &k, &v], positions.mask.as_ref());
    if shape.shares_samples {
        out = exchange(tape, &out);
    }
    if !out.rows_first {
        out = tape.copy(&out);
    }
    (linear::forward(tape, &block.output, &out, shape.rows), None)
}

/// All tokens of some heads for some tokens of all heads, or back (`llamafactory/v1/plugins/model_plugins/parallelization/seq_comm.py:25`): as many numbers, sent
/// and received in parts. Around attention with these shapes every kernel sees as much as it would without.
fn exchange<'a>(tape: &mut Tape<'a>, x: &Tensor) -> Tensor {
    fn all_to_all(tape: &mut Tape<'_>, elements: u64, dtype: Dtype) -> Tensor {
        let _sent = tape.new_tensor(elements, dtype);
        let _received = tape.new_tensor(elements, dtype);
        tape.new_tensor(elements, dtype)
    }
    let (elements, dtype) = (x.elements, x.dtype);
    let y = all_to_all(tape, elements, dtype).rows_first(x.rows_first);
    tape.custom(y, &[x], &[], move |tape, _, _| vec![Some(all_to_all(tape, elements, dtype))])
}

/// `sdpa_attention_forward` (`transformers/integrations/sdpa_attention.py:77`): with a mask, keys and values are repeated for every query head; a
/// single one is only seen so often.
fn fused(tape: &mut Tape<'_>, attention: AttentionShape, [q, k, v]: [&Tensor; 3], mask: Option<&Tensor>) -> Tensor {
    if mask.is_none() || attention.heads == attention.kv_heads {
        return tape.fused_attention([q, k, v], attention, mask);
    }
    let [k, v] =
        [k, v].map(|x| if attention.kv_heads == 1 { tape.expand(x, q.elements) } else { tape.repeat(x, q.elements) });
    tape.fused_attention([q, &k, &v], AttentionShape { kv_heads: attention.heads, ..attention }, mask)
}
