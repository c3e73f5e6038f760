//! LoRA's matrices: PEFT makes them, TRL casts them.

use super::super::super::torch::Tape;
use super::super::super::{Block, Part};
use super::weights::{Linear, Model, Parameter, Trained};
use super::{ADAPTER, GRADIENTS, Shape, experts};
use crate::model::Dtype;

/// Gives every targeted linear its matrices, as float32, and then casts them to what the trainer wants, one after the other.
pub(in crate::cost::engine) fn add(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) {
    if shape.full {
        return;
    }
    let mut trained = Vec::new();
    for (block, linear) in targeted(shape, model) {
        tape.at(block);
        let matrices = [(shape.rank, linear.in_features), (linear.out_features, shape.rank)];
        linear.adapter = Some(matrices.map(|size| make(tape, &mut trained, size)));
    }
    tape.at(None);
    for decoder in &mut model.blocks {
        tape.at(Some(decoder.block));
        if let Some(experts) = &mut decoder.experts {
            experts::weights::adapt(experts, shape, |size| make(tape, &mut trained, size));
        }
    }
    tape.at(None);
    model.trained.extend(trained);
    for &dtype in &shape.adapter_dtypes[1..] {
        for (block, linear) in targeted(shape, model) {
            tape.at(block);
            for matrix in linear.adapter.iter_mut().flatten() {
                cast(tape, matrix, dtype, ADAPTER);
            }
        }
        for decoder in &mut model.blocks {
            tape.at(Some(decoder.block));
            for matrix in decoder.experts.iter_mut().flat_map(experts::weights::each_adapter) {
                cast(tape, matrix, dtype, ADAPTER);
            }
        }
        tape.at(None);
    }
}

/// A matrix of an adapter of the block at hand.
fn make(tape: &mut Tape<'_>, trained: &mut Vec<Trained>, size: (u64, u64)) -> Parameter {
    let mut tensor = tape.new_as(ADAPTER, size.0 * size.1, Dtype::F32);
    let leaf = tape.leaf(&mut tensor, GRADIENTS, false);
    let made = Trained { leaf, shape: size, matrices: 1, embedding: false, block: tape.block(), stepped: None };
    trained.push(made);
    Parameter { tensor, trained: Some(made) }
}

/// Replaces a parameter's data (`param.data = param.data.to(dtype)`).
fn cast(tape: &mut Tape<'_>, parameter: &mut Parameter, dtype: Dtype, part: Part) {
    let data = tape.new_as(part, parameter.tensor.elements, dtype);
    parameter.tensor.storage = data.storage;
    parameter.tensor.dtype = dtype;
    if let Some(trained) = parameter.trained {
        tape.retype(trained.leaf, dtype);
    }
}

/// The linears that get an adapter, in the model's order; the tower's come after the decoder's.
fn targeted<'m>(shape: &'m Shape, model: &'m mut Model) -> impl Iterator<Item = (Option<Block>, &'m mut Linear)> {
    let decoder = model.blocks.iter_mut().flat_map(|decoder| {
        let block = Some(decoder.block);
        // Where PEFT takes an MLP's names for those of the experts, dense MLPs beside them are left out.
        let renamed = shape.expert_targets.renamed;
        let mlp = decoder.mlp.iter_mut().filter(move |_| !renamed);
        let shared = decoder
            .experts
            .iter_mut()
            .flat_map(move |experts| experts.shared.iter_mut().skip(if renamed { 3 } else { 0 }));
        let linears = decoder.input.iter_mut().chain(std::iter::once(&mut decoder.output)).chain(mlp).chain(shared);
        linears.map(move |linear| (block, linear))
    });
    let tower = model.tower.iter_mut().filter(|_| shape.adapt_vision).flat_map(|tower| {
        let blocks = tower.blocks.iter_mut().flat_map(|tower| {
            let block = Some(tower.block);
            tower.linears.iter_mut().map(move |linear| (block, linear))
        });
        blocks.chain(tower.merger.iter_mut().map(|linear| (None, linear)))
    });
    decoder.filter(|(_, linear)| shape.targets.contains(&linear.name)).chain(tower)
}
