//! A run's tensors in its folder: the adapter as PEFT reads it, and the optimizer's moments beside it.

use std::collections::HashMap;
use std::path::Path;

use super::OutputError;
use crate::checkpoint::{Checkpoint, TensorSpec, write_safetensors};
use crate::kernels::storage;
use crate::network::parameter::Slot;
use crate::network::{Model, ParameterMut, linear_module};
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

/// Names and tensors of the optimizer's moments.
fn moments(model: &mut Model) -> Vec<(String, &mut Slot<2>)> {
    let mut all = Vec::new();
    for (name, parameter) in model.trained_mut() {
        if let ParameterMut::Matrix(parameter) = parameter
            && let Some((first, second)) = parameter.training.as_mut().and_then(|training| training.moments.as_mut())
        {
            all.push((format!("{name}.first"), first));
            all.push((format!("{name}.second"), second));
        }
    }
    all
}

pub(super) fn write_moments(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let moments = moments(model);
    let specs: Vec<TensorSpec> = moments
        .iter()
        .map(|(name, slot)| TensorSpec { name: name.clone(), shape: slot.get().dims().to_vec() })
        .collect();
    write_safetensors(path, &specs, |index| storage::read(moments[index].1.get(), <[f32]>::to_vec))?;
    Ok(())
}

pub(super) fn read_moments(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let file = Checkpoint::open(path)?;
    for (name, slot) in moments(model) {
        file.expect_shape(&name, &slot.get().dims())?;
        let values = file.read_all(&name)?;
        slot.change(|tensor| storage::write(tensor, &values));
    }
    Ok(())
}
