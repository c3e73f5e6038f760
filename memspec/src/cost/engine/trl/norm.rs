//! Norms as transformers writes them, PyTorch's own, and Liger's.

use super::super::super::torch::{Saves, Tape, Tensor};
use super::Shape;
use super::form::NormKind;
use super::weights::Norm;
use crate::model::Dtype;

/// `norm(x)`, over the last axis of `rows` rows.
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, norm: &Norm, rows: u64) -> Tensor {
    if shape.liger {
        return tape.liger_rms_norm(x, &norm.weight.tensor, rows);
    }
    of_kind(tape, shape.form.norm, x, norm, rows)
}

/// The same, as this kind of norm computes it.
pub(super) fn of_kind(tape: &mut Tape<'_>, kind: NormKind, x: &Tensor, norm: &Norm, rows: u64) -> Tensor {
    let weight = &norm.weight.tensor;
    match kind {
        NormKind::Rms => {
            let hidden = root_mean_square(tape, x, rows);
            let normed = tape.cast(&hidden, x.dtype);
            tape.multiply(weight, &normed)
        }
        NormKind::RmsWide => {
            let hidden = root_mean_square(tape, x, rows);
            let scaled = tape.multiply(weight, &hidden);
            tape.cast(&scaled, x.dtype)
        }
        NormKind::RmsOnePlus => {
            let hidden = root_mean_square(tape, x, rows);
            let one_plus = one_plus(tape, &norm.weight.tensor, Dtype::F32);
            let scaled = tape.multiply_columns(&one_plus, &hidden);
            tape.cast(&scaled, x.dtype)
        }
        NormKind::Layer => {
            let bias = norm.bias.as_ref().map(|bias| tape.autocast_wide(&bias.tensor));
            let weight = tape.autocast_wide(weight);
            let x = tape.autocast_wide(x);
            tape.layer_norm(&x, &weight, bias.as_ref(), rows)
        }
        NormKind::LayerOnePlus => {
            let one_plus = one_plus(tape, weight, weight.dtype);
            // `_cast_if_autocast_enabled` casts the arguments; autocast is off inside.
            let narrow = |tape: &mut Tape<'_>, tensor: &Tensor| match tape.autocast {
                Some(dtype) => tape.cast(tensor, dtype),
                None => tensor.clone(),
            };
            let x = narrow(tape, x);
            let weight = narrow(tape, &one_plus);
            let bias = norm.bias.as_ref().map(|bias| narrow(tape, &bias.tensor));
            tape.layer_norm(&x, &weight, bias.as_ref(), rows)
        }
        NormKind::LayerByStep => layer_by_step(tape, x, weight, rows),
    }
}

/// x over the root of its mean square, in float32.
fn root_mean_square(tape: &mut Tape<'_>, x: &Tensor, rows: u64) -> Tensor {
    let hidden = tape.cast(x, Dtype::F32);
    let squares = tape.square(&hidden);
    let variance = tape.mean_last(&squares, rows);
    drop(squares);
    let shifted = tape.shift(&variance);
    let inverse = tape.elementwise(&shifted, Saves::Output);
    tape.multiply(&hidden, &inverse)
}

fn one_plus(tape: &mut Tape<'_>, weight: &Tensor, dtype: Dtype) -> Tensor {
    let weight = tape.cast(weight, dtype);
    tape.shift(&weight)
}

fn layer_by_step(tape: &mut Tape<'_>, x: &Tensor, weight: &Tensor, rows: u64) -> Tensor {
    let hidden = tape.cast(x, Dtype::F32);
    let mean = tape.mean_last(&hidden, rows);
    let centered = tape.subtract(&hidden, &mean);
    let squares = tape.square(&centered);
    drop(centered);
    let variance = tape.mean_last(&squares, rows);
    drop(squares);
    let centered = tape.subtract(&hidden, &mean);
    let shifted = tape.shift(&variance);
    let inverse = tape.elementwise(&shifted, Saves::Output);
    drop(shifted);
    let normed = tape.multiply(&centered, &inverse);
    drop((centered, hidden));
    let weight = tape.cast(weight, Dtype::F32);
    let scaled = tape.multiply_columns(&weight, &normed);
    drop(normed);
    tape.cast(&scaled, x.dtype)
}
