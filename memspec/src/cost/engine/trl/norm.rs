//! RMSNorm as transformers writes it (`models/llama/modeling_llama.py:53`), and Liger's.

use super::super::super::torch::{Saves, Tape, Tensor};
use super::Shape;
use super::weights::Parameter;
use crate::model::Dtype;

/// `norm(x)`, over the last axis of `rows` rows.
pub(super) fn rms(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, weight: &Parameter, rows: u64) -> Tensor {
    if shape.liger {
        return tape.liger_rms_norm(x, &weight.tensor, rows);
    }
    let mut hidden = tape.cast(x, Dtype::F32);
    let squares = tape.square(&hidden);
    let variance = tape.mean_last(&squares, rows);
    drop(squares);
    let shifted = tape.add(&variance, &variance);
    let inverse = tape.elementwise(&shifted, Saves::Output);
    hidden = tape.multiply(&hidden, &inverse);
    let normed = tape.cast(&hidden, x.dtype);
    tape.multiply(&weight.tensor, &normed)
}
