//! A block of a tower.

use super::super::super::super::torch::{AttentionShape, Saves, Tape, Tensor};
use super::super::weights::{Linear, Norm};
use super::super::{Shape, linear, norm, rotation};
use super::form::{Attention, Form, Rotation};
use super::weights::TowerBlock;
use crate::model::Vision;

/// What the blocks of a tower share.
#[derive(Clone, Debug, Default)]
pub(super) struct Shared {
    /// Cosines and sines.
    pub(super) tables: Option<[Tensor; 2]>,
    pub(super) mask: Option<Tensor>,
}

/// What one block's attention sees at once.
#[derive(Clone, Debug)]
pub(super) struct Call {
    /// Rows of the sequence: patches, and class tokens.
    pub(super) rows: u64,
    /// Images.
    pub(super) images: u64,
    /// Patches of each piece that the sequence is split into; one of each image, or its windows.
    pub(super) pieces: Vec<u64>,
}

/// `x + attention(norm(x))`, then `+ mlp(norm(..))`.
pub(super) fn forward(
    tape: &mut Tape<'_>,
    shape: &Shape,
    vision: &Vision,
    tower: &TowerBlock,
    x: &Tensor,
    shared: &Shared,
    call: &Call,
) -> Tensor {
    let form = Form::of(vision);
    let [first, second] = &tower.norms;
    let normed = normalized(tape, form, x, first, call.rows);
    let attended = attend(tape, shape, vision, tower, &normed, shared, call);
    drop(normed);
    let x = tape.add(x, &attended);
    drop(attended);
    // The call's argument, until the MLP returns.
    let normed = normalized(tape, form, &x, second, call.rows);
    let fed = feed(tape, form, &tower.mlp, &normed, call.rows);
    drop(normed);
    tape.add(&x, &fed)
}

fn normalized(tape: &mut Tape<'_>, form: Form, x: &Tensor, norm: &Norm, rows: u64) -> Tensor {
    norm::of_kind(tape, form.norm, x, norm, rows)
}

fn feed(tape: &mut Tape<'_>, form: Form, mlp: &[Linear], x: &Tensor, rows: u64) -> Tensor {
    match mlp {
        [gate, up, down] => {
            let gate = linear::forward(tape, gate, x, rows);
            let active = tape.elementwise(&gate, Saves::Input);
            drop(gate);
            let up = linear::forward(tape, up, x, rows);
            let product = tape.multiply(&active, &up);
            drop((active, up));
            linear::forward(tape, down, &product, rows)
        }
        [up, down] => {
            let mut y = linear::forward(tape, up, x, rows);
            y = if form.quick_gelu {
                // `x * sigmoid(1.702 x)`
                let scaled = tape.scale(&y);
                let sigmoid = tape.elementwise(&scaled, Saves::Output);
                drop(scaled);
                tape.multiply(&y, &sigmoid)
            } else {
                tape.elementwise(&y, Saves::Input)
            };
            linear::forward(tape, down, &y, rows)
        }
        _ => x.clone(),
    }
}

fn attend(
    tape: &mut Tape<'_>,
    shape: &Shape,
    vision: &Vision,
    tower: &TowerBlock,
    x: &Tensor,
    shared: &Shared,
    call: &Call,
) -> Tensor {
    let form = Form::of(vision);
    let parts = match tower.input.as_slice() {
        [all] => {
            let all = linear::forward(tape, all, x, call.rows);
            tape.unbind(&all, 3, true)
        }
        each => each
            .iter()
            .map(|linear| {
                let part = linear::forward(tape, linear, x, call.rows);
                tape.heads(&part)
            })
            .collect(),
    };
    let [mut q, mut k, v] = match <[Tensor; 3]>::try_from(parts) {
        Ok(parts) => parts,
        Err(_) => return x.clone(),
    };
    if let Some(tables) = &shared.tables {
        [q, k] = match form.rotation {
            Rotation::Wide => rotation::in_f32(tape, [&q, &k], tables),
            _ => [&q, &k].map(|part| rotation::turn(tape, part, tables)),
        };
    }
    let whole = AttentionShape {
        batch: 1,
        tokens: call.rows,
        heads: vision.heads,
        kv_heads: vision.heads,
        head_dim: vision.hidden / vision.heads.max(1),
        softcap: false,
        kernel: shape.attention.kernel,
    };
    // FlashAttention takes the pieces' bounds instead of the pieces.
    if form.attention == Attention::Split && !shape.flash {
        let pieces = [&q, &k, &v].map(|part| tape.split(part, &call.pieces, vision.hidden));
        let outputs: Vec<Tensor> = call
            .pieces
            .iter()
            .enumerate()
            .map(|(at, &tokens)| {
                let [q, k, v] = [0, 1, 2].map(|part: usize| &pieces[part][at]);
                one(tape, shape, [q, k, v], AttentionShape { tokens, ..whole }, None)
            })
            .collect();
        let joined = tape.concatenate(&outputs.iter().collect::<Vec<_>>(), call.rows * vision.hidden);
        // Pieces and outputs are locals until the layer returns.
        return linear::forward(tape, &tower.output, &joined, call.rows);
    }
    let images = call.images.max(1);
    let attention = match form.attention {
        Attention::Batch => AttentionShape { batch: images, tokens: call.rows / images, ..whole },
        Attention::Split | Attention::Masked => whole,
    };
    let out = one(tape, shape, [&q, &k, &v], attention, shared.mask.as_ref());
    linear::forward(tape, &tower.output, &out, call.rows)
}

/// One call of the attention function, rows first.
fn one(
    tape: &mut Tape<'_>,
    shape: &Shape,
    qkv: [&Tensor; 3],
    attention: AttentionShape,
    mask: Option<&Tensor>,
) -> Tensor {
    if shape.eager {
        return tape.eager_attention(qkv, attention, mask).0;
    }
    let out = tape.fused_attention(qkv, attention, mask);
    if out.rows_first { out } else { tape.copy(&out).rows_first(true) }
}
