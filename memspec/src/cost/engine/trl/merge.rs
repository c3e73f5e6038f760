//! Merging an adapter into the base: PEFT's `merge_and_unload` (`peft/tuners/tuners_utils.py:679`), linear by linear.
//!
//! The trainer, and with it the optimizer, still holds the adapters and their states. Writing the merged model then copies tensors to the host one by
//! one, which allocates nothing here.

use super::super::super::torch::{Tape, Tensor};
use super::weights::{DecoderBlock, Linear, Model, Weight, pack_int8, pack_nf4};
use super::{DENSE, MERGED, Shape};
use crate::model::Dtype;

/// Merges every adapted linear, in the order of the model's modules.
pub(super) fn into_base(tape: &mut Tape<'_>, shape: &Shape, model: &Model) {
    for block in &model.blocks {
        tape.at(Some(block.block));
        linears(block).for_each(|linear| merge(tape, shape, linear));
    }
    if let Some(tower) = &model.tower {
        for (block, linear) in tower.linears() {
            tape.at(block);
            merge(tape, shape, linear);
        }
    }
    tape.at(None);
}

fn linears(block: &DecoderBlock) -> impl Iterator<Item = &Linear> {
    block.input.iter().chain(std::iter::once(&block.output)).chain(&block.mlp)
}

fn merge(tape: &mut Tape<'_>, shape: &Shape, linear: &Linear) {
    let Some([_, b]) = &linear.adapter else { return };
    let (rows, elements) = (linear.out_features, linear.out_features * linear.in_features);
    match &linear.weight {
        // `tuners/lora/layer.py:1007`: added in place.
        Weight::Dense(_) => drop(delta(tape, elements, b.tensor.dtype)),
        // `tuners/lora/bnb.py:384`: unpacked, added, brought to the host and packed anew from there.
        Weight::Nf4 { double, parts, .. } => {
            let unpacked = {
                let _maxima = double.then(|| tape.new_as(DENSE, elements / 64, Dtype::F32));
                tape.new_as(DENSE, elements, shape.dtype)
            };
            let added = delta(tape, elements, b.tensor.dtype);
            let sum = tape.new_as(MERGED, elements, wider(&unpacked, &added));
            let packed = pack_nf4(tape, elements, *double, false);
            drop(parts.replace(packed));
            drop((unpacked, added, sum));
        }
        // `tuners/lora/bnb.py:110`; unpacked in float32 (`bitsandbytes/_ops.py:121`).
        Weight::Int8 { parts, .. } => {
            let unpacked = {
                let _product = tape.new_as(DENSE, elements, Dtype::F32);
                tape.new_as(DENSE, elements, Dtype::F32)
            };
            let added = delta(tape, elements, b.tensor.dtype);
            let sum = {
                let _cast = (added.dtype != Dtype::F32).then(|| tape.new_as(MERGED, elements, added.dtype));
                tape.new_as(MERGED, elements, added.dtype)
            };
            let packed = pack_int8(tape, rows, elements);
            drop(parts.replace(packed));
            drop((unpacked, added, sum));
        }
    }
}

/// `B @ A * scaling` (`get_delta_weight`), in the adapter's type.
fn delta(tape: &mut Tape<'_>, elements: u64, dtype: Dtype) -> Tensor {
    let _product = tape.new_as(MERGED, elements, dtype);
    tape.new_as(MERGED, elements, dtype)
}

fn wider(a: &Tensor, b: &Tensor) -> Dtype {
    if a.dtype == Dtype::F32 { a.dtype } else { b.dtype }
}
