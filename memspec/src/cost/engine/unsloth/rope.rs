//! Tables of the rotary embedding, made at the first forward and kept (`unsloth/models/llama.py:2649`, `_set_cos_sin_cache`).

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::POSITIONS;
use super::Sizes;
use crate::model::Dtype;

/// Rows that are built first, whatever the model's longest context (`models/llama.py:2607`: 4 * 8192).
const FIRST_ROWS: u64 = 32_768;

/// Cosines and sines for the first 32768 positions, or all where there are fewer. Built on the processor and cast on the card; a table that
/// grows beyond the first rows is computed on the card, in float32.
pub(super) fn tables(tape: &mut Tape<'_>, sizes: &Sizes) -> Vec<Tensor> {
    let model = &sizes.shape.model;
    let longest = model.max_positions.max(sizes.shape.attention.tokens);
    let elements = longest.min(FIRST_ROWS).max(sizes.shape.attention.tokens) * model.head_dim;
    let on_card = longest > FIRST_ROWS;
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
