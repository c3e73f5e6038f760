//! Merging an adapter into a 16 bit checkpoint (`unsloth_zoo/saving_utils.py:1059`, `_merge_and_overwrite_lora`): the base weights are read from the
//! files that the model was loaded from, so the weights on the card stay as they are.

use super::super::super::torch::Tape;
use super::super::trl::MERGED;
use super::super::trl::weights::{Linear, Model};
use super::Sizes;
use crate::model::Dtype;

/// Merges every adapted linear and writes it, one after the other.
pub(super) fn into_files(tape: &mut Tape<'_>, sizes: &Sizes, model: &Model) {
    for block in &model.blocks {
        tape.at(Some(block.block));
        let linears = block.input.iter().chain(std::iter::once(&block.output)).chain(&block.mlp);
        linears.filter(|linear| sizes.adapted(&linear.name)).for_each(|linear| merge(tape, linear));
    }
    tape.at(None);
}

fn merge(tape: &mut Tape<'_>, linear: &Linear) {
    let elements = linear.out_features * linear.in_features;
    // Read in its own type, then widened (`saving_utils.py:490`); the adapter's product is added in place.
    let wide = tape.new_as(MERGED, elements, Dtype::F32);
    drop(tape.new_as(MERGED, elements, Dtype::Bf16));
    // To the file's type again, on its way to the disk (`saving_utils.py:9133`).
    drop(tape.new_as(MERGED, elements, Dtype::Bf16));
    drop(wide);
}
