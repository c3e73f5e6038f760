//! Tables of the rotary embedding, made at the first forward and kept (`unsloth/models/llama.py:2649`, `_set_cos_sin_cache`).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::POSITIONS;
use super::Sizes;
use super::sizes::Layers;
use crate::model::Dtype;

/// Rows that are built first, whatever the model's longest context (`models/llama.py:2607`: 4 * 8192), and rows that are built at a time.
const FIRST_ROWS: u64 = 32_768;

/// Cosines and sines for the first 32768 positions, or all where there are fewer. Built on the processor and cast on the card; a table that
/// grows beyond the first rows is computed on the card, in float32. Batches without padding have positions, which may be any of the model's
/// (`models/llama.py:1581`).
pub(super) fn tables(tape: &mut Tape<'_>, sizes: &Sizes) -> Vec<Tensor> {
    let model = &sizes.shape.model;
    let tokens = match sizes.layers {
        Layers::Eager => sizes.shape.rows,
        _ => sizes.shape.attention.tokens,
    };
    let longest = model.max_positions.max(tokens);
    let rows = if sizes.layers == Layers::Eager { longest } else { longest.min(FIRST_ROWS).max(tokens) };
    let on_card = longest > FIRST_ROWS;
    if on_card && rows > FIRST_ROWS {
        return in_parts(tape, sizes, rows);
    }
    let elements = rows * model.head_dim;
    let angles = on_card.then(|| {
        let halves = tape.new_as(POSITIONS, elements / 2, Dtype::F32);
        let both = tape.new_as(POSITIONS, elements, Dtype::F32);
        drop(halves);
        both
    });
    let mut tables = Vec::new();
    for _ in 0..2 {
        let wide = tape.new_as(POSITIONS, elements, Dtype::F32);
        tables.push(tape.new_as(POSITIONS, elements, sizes.dtype));
        drop(wide);
    }
    drop(angles);
    tables
}

/// A long table, some rows at a time; a loop's locals live until their next values are there.
fn in_parts(tape: &mut Tape<'_>, sizes: &Sizes, rows: u64) -> Vec<Tensor> {
    let width = sizes.shape.model.head_dim;
    let new = |tape: &mut Tape<'_>, elements, dtype| tape.new_as(POSITIONS, elements, dtype);
    let whole = new(tape, rows, Dtype::F32);
    let mut tables = Vec::new();
    let (mut frequencies, mut angles, mut parts) = (None, None, [None, None]);
    for first in (0..rows).step_by(FIRST_ROWS as usize) {
        let elements = FIRST_ROWS.min(rows - first) * width;
        frequencies = Some(new(tape, elements / 2, Dtype::F32)).or(frequencies);
        angles = Some(new(tape, elements, Dtype::F32)).or(angles);
        for part in &mut parts {
            let wide = new(tape, elements, Dtype::F32);
            let scaled = new(tape, elements, Dtype::F32);
            drop(wide);
            *part = Some(new(tape, elements, sizes.dtype));
            drop(scaled);
        }
        if tables.is_empty() {
            tables = (0..2).map(|_| new(tape, rows * width, sizes.dtype)).collect();
        }
    }
    drop((frequencies, angles, parts, whole));
    tables
}
