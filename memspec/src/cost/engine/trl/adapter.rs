//! What PEFT adds to a model: LoRA's matrices, DoRA's magnitudes and copies of modules that are trained whole. TRL casts them.

use super::super::super::torch::Tape;
use super::super::super::{Block, Part};
use super::weights::{Linear, Model, Parameter, Trained};
use super::{ADAPTER, GRADIENTS, Shape, WHOLE, dora, experts};
use crate::model::Dtype;

/// Gives every targeted linear its matrices, as float32, and then casts them to what the trainer wants, one after the other.
pub(in crate::cost::engine) fn add(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model) {
    if shape.full {
        return;
    }
    let mut trained = Vec::new();
    for (block, reached, linear) in targeted(shape, model) {
        tape.at(block);
        let mut new = |tape: &mut Tape<'_>, size: (u64, u64)| {
            let parameter = parameter(tape, ADAPTER, size, Dtype::F32, false);
            // What no gradient comes to is not stepped.
            trained.extend(parameter.trained.filter(|_| reached));
            parameter
        };
        let matrices = [(shape.rank, linear.in_features), (linear.out_features, shape.rank)];
        linear.adapter = Some(matrices.map(|size| new(tape, size)));
        linear.dropout = shape.dropout;
        if shape.dora {
            dora::measure(tape, linear);
            linear.magnitude = Some(new(tape, (1, linear.out_features)));
        }
    }
    tape.at(None);
    for decoder in &mut model.blocks {
        tape.at(Some(decoder.block));
        if let Some(experts) = &mut decoder.experts {
            experts::weights::adapt(experts, shape, |size| {
                let parameter = parameter(tape, ADAPTER, size, Dtype::F32, false);
                trained.extend(parameter.trained);
                parameter
            });
        }
    }
    tape.at(None);
    copy_whole(tape, shape, model, trained);
    for &dtype in &shape.adapter_dtypes[1..] {
        if let Some(embedding) = &mut model.copies.embedding {
            cast(tape, embedding, dtype, WHOLE);
        }
        // TRL leaves magnitudes as they are: their steps are smaller than what bf16 can tell apart.
        let magnitudes = dtype != Dtype::Bf16;
        for (block, _, linear) in targeted(shape, model) {
            tape.at(block);
            let matrices = linear.adapter.iter_mut().flatten();
            for part in matrices.chain(linear.magnitude.as_mut().filter(|_| magnitudes)) {
                cast(tape, part, dtype, ADAPTER);
            }
        }
        for decoder in &mut model.blocks {
            tape.at(Some(decoder.block));
            for matrix in decoder.experts.iter_mut().flat_map(experts::weights::each_adapter) {
                cast(tape, matrix, dtype, ADAPTER);
            }
        }
        tape.at(None);
        if let Some(head) = &mut model.copies.head {
            cast(tape, head, dtype, WHOLE);
        }
    }
}

/// Copies the modules that are trained whole (`peft/utils/other.py:653`, `ModulesToSaveWrapper.update`), in the model's type. The embedding comes before all
/// adapters in the model's order, the head after them.
fn copy_whole(tape: &mut Tape<'_>, shape: &Shape, model: &mut Model, adapters: Vec<Trained>) {
    let matrix = (shape.model.vocab, shape.model.hidden);
    if shape.whole.embedding {
        let copy = parameter(tape, WHOLE, matrix, shape.dtype, true);
        model.trained.extend(copy.trained);
        model.copies.embedding = Some(copy);
    }
    model.trained.extend(adapters);
    if shape.whole.head {
        let copy = parameter(tape, WHOLE, matrix, shape.dtype, false);
        model.trained.extend(copy.trained);
        model.copies.head = Some(copy);
    }
}

fn parameter(tape: &mut Tape<'_>, part: Part, shape: (u64, u64), dtype: Dtype, embedding: bool) -> Parameter {
    let mut tensor = tape.new_as(part, shape.0 * shape.1, dtype);
    let leaf = tape.leaf(&mut tensor, GRADIENTS, false);
    let trained = Trained { leaf, shape, matrices: 1, embedding, block: tape.block(), stepped: None };
    Parameter { tensor, trained: Some(trained) }
}

/// Replaces a parameter's data (`param.data = param.data.to(dtype)`).
pub(super) fn cast(tape: &mut Tape<'_>, parameter: &mut Parameter, dtype: Dtype, part: Part) {
    if parameter.tensor.dtype == dtype {
        return;
    }
    let data = tape.new_as(part, parameter.tensor.elements, dtype);
    parameter.tensor.storage = data.storage;
    parameter.tensor.dtype = dtype;
    if let Some(trained) = parameter.trained {
        tape.retype(trained.leaf, dtype);
    }
}

/// The linears that get an adapter, in the model's order, and whether a gradient comes to them; the tower's come after the decoder's. PEFT takes what ends with
/// a target's name, in the tower too (`peft/tuners/tuners_utils.py`, `check_target_module_exists`).
fn targeted<'m>(shape: &'m Shape, model: &'m mut Model) -> impl Iterator<Item = (Option<Block>, bool, &'m mut Linear)> {
    let named = |linear: &Linear| shape.targets.contains(&linear.name);
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
        linears.map(move |linear| (block, true, linear))
    });
    let seen = shape.images.count > 0;
    let tower = model.tower.iter_mut().flat_map(|tower| tower.linears_mut());
    let tower = tower.map(move |(block, read, linear)| (block, read && seen, linear));
    decoder
        .filter(move |(_, _, linear)| named(linear))
        .chain(tower.filter(move |(_, _, linear)| (shape.adapt_vision && !linear.bare) || named(linear)))
}
