//! A run's tensors in its folder: the adapter as PEFT reads it, and the optimizer's states beside what is trained.

use std::collections::HashMap;
use std::path::Path;

use super::OutputError;
use crate::checkpoint::{Checkpoint, Encoding, Stored, write_tensors};
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
    let mut values = HashMap::new();
    for (name, parameter) in model.trained_mut() {
        if let ParameterMut::Matrix(parameter) = parameter {
            values.insert(name, parameter.value.get().clone());
        }
    }
    peft::write(folder, config, &modules, |module, part| {
        let name = format!("{module}.{}.weight", matrix(part));
        values.get(&name).map(|tensor| storage::read(tensor, <[f32]>::to_vec)).unwrap_or_default()
    })?;
    Ok(())
}

fn matrix(part: Part) -> &'static str {
    match part {
        Part::A => "lora_A",
        Part::B => "lora_B",
    }
}

/// Reads an adapter's matrices into the model's.
///
/// # Errors
/// An adapter that lacks a matrix, has one of another shape, or one for a module that the model does not adapt.
pub fn read_adapter(folder: &Path, model: &mut Model) -> Result<(), OutputError> {
    let adapter = peft::Adapter::open(folder)?;
    let modules = adapted_modules(model);
    if let Some(module) = adapter.modules().into_iter().find(|module| modules.iter().all(|m| m.module != *module)) {
        return Err(AdapterError::OtherModel { folder: folder.to_owned(), module }.into());
    }
    let mut parameters: HashMap<String, ParameterMut<'_>> = model.trained_mut().into_iter().collect();
    for module in &modules {
        for part in [Part::A, Part::B] {
            let values = adapter.read(module, part)?;
            let name = format!("{}.{}.weight", module.module, matrix(part));
            if let Some(ParameterMut::Matrix(parameter)) = parameters.get_mut(&name) {
                parameter.set(|tensor| storage::write(tensor, &values));
            }
        }
    }
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

/// Writes the optimizer's states, in f32.
pub(super) fn write_states(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let states = states(model);
    let specs: Vec<Stored> = states
        .iter()
        .map(|(name, state)| Stored { name: name.clone(), shape: state.shape(), encoding: Encoding::F32 })
        .collect();
    write_tensors(path, &[], &specs, |index, out| states[index].1.read(|values| out.numbers(values)))?;
    Ok(())
}

/// Reads what [`write_states`] wrote.
pub(super) fn read_states(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let file = Checkpoint::open(path)?;
    for (name, mut state) in states(model) {
        file.expect_shape(&name, &state.shape())?;
        state.write(&file.read_all(&name)?);
    }
    Ok(())
}
