//! A run's tensors in its folder: the adapter as PEFT reads it, and the optimizer's states beside what is trained.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::{Int, Tensor};

use super::OutputError;
use crate::checkpoint::{Checkpoint, Encoding, Stored, write_tensors};
use crate::kernels::place::read_bytes;
use crate::kernels::storage;
use crate::network::{Model, ParameterMut, StateMut, linear_module};
use crate::peft::{self, AdaptedModule, AdapterConfig, AdapterError, Part};

/// The adapted modules of a model in order.
pub fn adapted_modules(model: &Model) -> Vec<AdaptedModule> {
    let mut all = Vec::new();
    for (index, block) in model.blocks.iter().enumerate() {
        for (leaf, linear) in block.linears.named() {
            if linear.adapter.is_some() {
                let [out_features, in_features] = linear.weight.shape();
                let module = linear_module(&format!("model.layers.{index}"), leaf);
                all.push(AdaptedModule { module, in_features, out_features });
            }
        }
    }
    all
}

pub(super) fn write_adapter(folder: &Path, model: &mut Model, config: &AdapterConfig) -> Result<(), OutputError> {
    let modules = adapted_modules(model);
    let parameters: HashMap<String, ParameterMut<'_>> = model.trained_mut().into_iter().collect();
    peft::write(folder, config, &modules, |module, part| {
        let name = format!("{module}.{}", part.suffix());
        parameters.get(&name).map(|parameter| parameter.read(<[f32]>::to_vec)).unwrap_or_default()
    })?;
    Ok(())
}

/// Reads an adapter's tensors into the model's.
///
/// # Errors
/// An adapter that lacks a tensor, has one of another shape, or one for a module that the model does not adapt; a DoRA for a model that has
/// none, or the other way round.
pub fn read_adapter(folder: &Path, model: &mut Model) -> Result<(), OutputError> {
    let adapter = peft::Adapter::open(folder)?;
    adapter.expect_whole()?;
    let modules = adapted_modules(model);
    if let Some(module) = adapter.modules().into_iter().find(|module| modules.iter().all(|m| m.module != *module)) {
        return Err(AdapterError::OtherModel { folder: folder.to_owned(), module }.into());
    }
    let mut parameters: HashMap<String, ParameterMut<'_>> = model.trained_mut().into_iter().collect();
    let is_dora = parameters.keys().any(|name| name.ends_with(Part::Magnitude.suffix()));
    if is_dora != adapter.config.use_dora && !modules.is_empty() {
        let [has, wants] = if is_dora { ["false", "adapter dora"] } else { ["true", "adapter lora"] };
        let reason = format!("`use_dora` is {has}, and the plan has `{wants}`");
        return Err(AdapterError::Config { path: folder.join(peft::CONFIG), reason }.into());
    }
    for module in &modules {
        for &part in adapter.config.parts() {
            let values = adapter.read(module, part)?;
            if let Some(parameter) = parameters.get_mut(&format!("{}.{}", module.module, part.suffix())) {
                parameter.write(&values);
            }
        }
    }
    drop(parameters);
    model.renew_norms();
    Ok(())
}

/// The optimizer's states of a model, by their names in a checkpoint's file.
fn states(model: &mut Model) -> Vec<(String, StateMut<'_>)> {
    let parameters = model.trained_mut().into_iter();
    let named = parameters.flat_map(|(name, parameter)| {
        parameter.states().into_iter().map(move |(state, tensor)| (format!("{name}.{state}"), tensor))
    });
    named.collect()
}

/// Writes the optimizer's states: moments in f32, or codes and the largest magnitudes of their blocks.
pub(super) fn write_states(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let mut tensors = Vec::new();
    let mut specs = Vec::new();
    for (name, state) in &states(model) {
        let numbers = |name: String, shape: &[usize]| Stored { name, shape: shape.to_vec(), encoding: Encoding::F32 };
        match state {
            StateMut::Vector(slot) => {
                specs.push(numbers(name.clone(), &slot.get().dims()));
                tensors.push(Written::Vector(slot.get().clone()));
            }
            StateMut::Matrix(slot) => {
                specs.push(numbers(name.clone(), &slot.get().dims()));
                tensors.push(Written::Matrix(slot.get().clone()));
            }
            StateMut::EightBit(moment) => {
                let (codes, largest) = moment.get().clone();
                let [codes_name, largest_name] = parts(name);
                specs.push(Stored::bytes(codes_name, codes.dims()[0]));
                specs.push(numbers(largest_name, &largest.dims()));
                tensors.extend([Written::Bytes(codes), Written::Vector(largest)]);
            }
        }
    }
    write_tensors(path, &[], &specs, |index, out| match &tensors[index] {
        Written::Vector(tensor) => storage::read(tensor, |values| out.numbers(values)),
        Written::Matrix(tensor) => storage::read(tensor, |values| out.numbers(values)),
        Written::Bytes(tensor) => read_bytes(tensor, |bytes| out.bytes(bytes)).map_err(std::io::Error::other)?,
    })?;
    Ok(())
}

/// A tensor of the states' file.
enum Written {
    Vector(Tensor<1>),
    Matrix(Tensor<2>),
    Bytes(Tensor<1, Int>),
}

/// The names of an 8-bit moment's codes and largest magnitudes.
fn parts(state: &str) -> [String; 2] {
    ["codes", "largest"].map(|part| format!("{state}.{part}"))
}

/// Reads what [`write_states`] wrote.
pub(super) fn read_states(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let file = Checkpoint::open(path)?;
    let place = model.place;
    let read = |name: &str, shape: &[usize]| {
        file.expect_shape(name, shape)?;
        file.read_all(name)
    };
    for (name, state) in states(model) {
        match state {
            StateMut::Vector(slot) => {
                let values = read(&name, &slot.get().dims())?;
                slot.change(|tensor| storage::write(tensor, &values));
            }
            StateMut::Matrix(slot) => {
                let values = read(&name, &slot.get().dims())?;
                slot.change(|tensor| storage::write(tensor, &values));
            }
            StateMut::EightBit(moment) => {
                let [codes_name, largest_name] = parts(&name);
                let (codes, largest) = moment.get();
                let bytes = file.read_bytes(&codes_name, codes.dims()[0])?;
                let values = read(&largest_name, &largest.dims())?;
                // The only reference to what is written over.
                moment.change(|(_, largest)| (place.bytes(&bytes), storage::write(largest, &values)));
            }
        }
    }
    Ok(())
}
