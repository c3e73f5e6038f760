//! A whole model in a run's folder, where all of its weights are trained: as transformers and every other program read it.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use super::OutputError;
use crate::checkpoint::{Checkpoint, Encoding, Stored, WriteError, write_atomically, write_tensors};
use crate::network::Model;

/// The name of the weights' file.
const WEIGHTS: &str = "model.safetensors";
/// What the header of a model's file says when a run wrote it.
const MARK: (&str, &str) = ("written_by", "memspec-train run");
/// A model's files beside its weights and its tokenizer's. The first must be there.
const BESIDE: [&str; 2] = ["config.json", "generation_config.json"];
/// All files of a model that a run writes, but for its tokenizer's. They are removed in this order: the weights, which say that a run wrote
/// them, last.
pub(super) const FILES: [&str; 3] = [BESIDE[0], BESIDE[1], WEIGHTS];

/// What the folder of a trained model takes from its base's: the types of its tensors, and the files that say what it is.
#[derive(Clone, Debug)]
pub struct WholeModel {
    /// Each tensor is stored in the type that the base has it in, so that the folder is as large, and `config.json` true of it.
    types: HashMap<String, Encoding>,
    /// Names and bytes; read before the run, so that its end does not depend on the base's folder.
    files: Vec<(&'static str, Vec<u8>)>,
}

impl WholeModel {
    /// Reads what a model that is trained from the checkpoint in the folder `base` will take from there.
    ///
    /// # Errors
    /// A base without `config.json`, such as a GGUF file.
    pub fn of(base: &Path, checkpoint: &Checkpoint) -> Result<Self, OutputError> {
        let mut files = Vec::new();
        for name in BESIDE {
            match std::fs::read(base.join(name)) {
                Ok(bytes) => files.push((name, bytes)),
                Err(_) if name == BESIDE[0] => return Err(OutputError::NoConfig { path: base.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(WriteError::new(&base.join(name), source).into()),
            }
        }
        let kept = |name: &str| match checkpoint.dtype(name) {
            Ok(plain @ (Encoding::F16 | Encoding::Bf16 | Encoding::F64)) => plain,
            _ => Encoding::F32,
        };
        Ok(Self { types: checkpoint.names().map(|name| (name.to_owned(), kept(name))).collect(), files })
    }

    /// Writes the model, the result of a run. `config.json` comes last: a folder that has it is whole.
    pub(super) fn write(&self, folder: &Path, model: &mut Model) -> Result<(), OutputError> {
        write_weights(folder, model, |name| self.types.get(name).copied().unwrap_or(Encoding::F32))?;
        for (name, bytes) in self.files.iter().rev() {
            write_atomically(&folder.join(name), |out| out.write_all(bytes))?;
        }
        Ok(())
    }
}

/// Writes all trained weights as they are, in f32, for a checkpoint.
pub(super) fn write_exact(folder: &Path, model: &mut Model) -> Result<(), OutputError> {
    write_weights(folder, model, |_| Encoding::F32)
}

/// Reads what [`write_exact`] wrote.
pub(super) fn read_exact(folder: &Path, model: &mut Model) -> Result<(), OutputError> {
    let file = Checkpoint::open(folder.join(WEIGHTS))?;
    for (name, mut parameter) in model.trained_mut() {
        file.expect_shape(&name, &parameter.shape())?;
        parameter.write(&file.read_all(&name)?);
    }
    Ok(())
}

fn write_weights(folder: &Path, model: &mut Model, encoding: impl Fn(&str) -> Encoding) -> Result<(), OutputError> {
    let parameters = model.trained_mut();
    let specs: Vec<Stored> = parameters
        .iter()
        .map(|(name, parameter)| Stored { name: name.clone(), shape: parameter.shape(), encoding: encoding(name) })
        .collect();
    write_tensors(&folder.join(WEIGHTS), &[MARK], &specs, |index, out| {
        parameters[index].1.read(|values| out.numbers(values))
    })?;
    Ok(())
}

/// Whether the model in a folder is one that a run left there; `None`: there is none.
pub(super) fn is_of_a_run(folder: &Path) -> Option<bool> {
    let path = folder.join(WEIGHTS);
    if path.exists() {
        return Some(Checkpoint::metadata(&path, MARK.0).is_some_and(|by| by == MARK.1));
    }
    folder.join(BESIDE[0]).exists().then_some(false)
}
