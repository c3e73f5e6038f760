//! A run's folder: the adapter, checkpoints, metrics and the report.
//!
//! ```text
//! runs/<plan>-<n>/
//!   adapter_model.safetensors, adapter_config.json, tokenizer files    the result, as PEFT reads it
//!   report.json                                                        what was promised and what was measured
//!   metrics.jsonl                                                      one line a step
//!   checkpoint-<step>/                                                 adapter, optimizer states, position
//! ```
//! A checkpoint is written into a folder beside its place and renamed, so a kill leaves the last good one.

use std::path::{Path, PathBuf};

use memspec::setup::Setup;
use serde::{Deserialize, Serialize};

use crate::checkpoint::{Checkpoint, CheckpointError, TensorSpec, WriteError, write_atomically, write_safetensors};
use crate::data::Position;
use crate::kernels::storage;
use crate::network::{Model, ParameterMut, linear_module};
use crate::peft::{self, AdaptedModule, AdapterConfig, AdapterError, Part};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// What a run may do with a folder that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Refuse it.
    Refuse,
    /// Continue from its newest checkpoint.
    Resume,
    /// Remove what an earlier run left there.
    Overwrite,
}

/// Why a run's folder cannot be used or written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// It holds something.
    #[error("the output folder {} is not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// There is nothing to resume.
    #[error("{} holds no checkpoint to resume from", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// The plan changed since the checkpoint.
    #[error("the checkpoint {} was made by another plan: `{setting}` was {before} and is {now}", path.display())]
    OtherPlan {
        /// The checkpoint.
        path: PathBuf,
        /// The first setting that differs.
        setting: String,
        /// Its value then.
        before: String,
        /// Its value now.
        now: String,
    },
    /// A checkpoint's state cannot be read.
    #[error("{}: {why}; remove this folder to resume from an older checkpoint", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        why: String,
    },
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The adapter's files.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The optimizer's file.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tokenizer's files.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

/// Where a run stands, beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Optimizer steps done.
    pub step: u64,
    /// How far the data were read.
    pub position: Position,
    /// The loss of each step so far.
    pub losses: Vec<f32>,
    /// What decides the course of training, to compare with the plan that resumes.
    pub plan: serde_json::Value,
}

/// What of a setup decides the course of training: where it runs and where it is written do not.
pub fn course(setup: &Setup, steps: u64) -> serde_json::Value {
    serde_json::json!({
        "model": setup.model_name,
        "seed": setup.seed,
        "quantize": setup.quantize,
        "adapter": setup.adapter,
        "data": setup.data,
        "train": {
            "precision": setup.train.precision,
            "micro_batch": setup.train.micro_batch,
            "accumulate": setup.train.accumulate,
            "optimizer": setup.train.optimizer,
            "learning_rate": setup.train.learning_rate,
            "schedule": setup.train.schedule,
            "warmup": setup.train.warmup,
            "weight_decay": setup.train.weight_decay,
            "betas": setup.train.betas,
            "clip": setup.train.clip,
            "steps": steps,
        },
    })
}

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Output {
    /// The folder.
    pub folder: PathBuf,
}

impl Output {
    /// The folder of a run: the plan's `output`, or the next free `runs/<plan>-<n>` beside the plan's file (the last one to resume).
    ///
    /// # Errors
    /// A folder that is not empty when `existing` refuses that.
    pub fn open(setup: &Setup, base: &Path, existing: Existing) -> Result<Self, OutputError> {
        let folder = match &setup.output {
            Some(folder) => folder.clone(),
            None => next_run(&base.join("runs"), &file_name(&setup.name), existing),
        };
        let used = std::fs::read_dir(&folder).is_ok_and(|mut entries| entries.next().is_some());
        match existing {
            Existing::Refuse if used => return Err(OutputError::NotEmpty { path: folder }),
            Existing::Overwrite if used => clear(&folder)?,
            _ => {}
        }
        std::fs::create_dir_all(&folder).map_err(|source| WriteError::new(&folder, source))?;
        Ok(Self { folder })
    }

    /// The newest checkpoint and its step.
    pub fn newest_checkpoint(&self) -> Option<(u64, PathBuf)> {
        checkpoints(&self.folder).pop()
    }

    /// Writes a checkpoint and removes all but the newest `keep`.
    ///
    /// # Errors
    /// A full disk, or a folder that may not be written; the checkpoints before it stay.
    pub fn save_checkpoint(
        &self,
        model: &mut Model,
        config: &AdapterConfig,
        state: &State,
        keep: u64,
    ) -> Result<PathBuf, OutputError> {
        let place = self.folder.join(format!("checkpoint-{}", state.step));
        let part = self.folder.join(format!(".checkpoint-{}.part", state.step));
        let failed = |source| WriteError::new(&place, source);
        if part.exists() {
            std::fs::remove_dir_all(&part).map_err(failed)?;
        }
        write_adapter(&part, model, config)?;
        write_moments(&part.join("optimizer.safetensors"), model)?;
        let json = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        write_atomically(&part.join("state.json"), |out| out.write_all(&json))?;
        if place.exists() {
            std::fs::remove_dir_all(&place).map_err(failed)?;
        }
        std::fs::rename(&part, &place).map_err(failed)?;
        let mut all = checkpoints(&self.folder);
        while all.len() as u64 > keep.max(1) {
            let (_, oldest) = all.remove(0);
            std::fs::remove_dir_all(&oldest).map_err(failed)?;
        }
        Ok(place)
    }

    /// Reads a checkpoint into the model.
    ///
    /// # Errors
    /// A checkpoint of another plan, or one whose files are damaged.
    pub fn restore(&self, path: &Path, model: &mut Model, now: &serde_json::Value) -> Result<State, OutputError> {
        let file = path.join("state.json");
        let damaged = |why: String| OutputError::Damaged { path: file.clone(), why };
        let text = std::fs::read_to_string(&file).map_err(|error| damaged(error.to_string()))?;
        let state: State = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        if let Some((setting, before, now)) = first_difference("", &state.plan, now) {
            return Err(OutputError::OtherPlan { path: path.to_owned(), setting, before, now });
        }
        read_adapter(path, model)?;
        read_moments(&path.join("optimizer.safetensors"), model)?;
        Ok(state)
    }

    /// Writes the adapter and the tokenizer's files, the result of a run.
    ///
    /// # Errors
    /// A full disk, or a folder that may not be written.
    pub fn save_adapter(
        &self,
        model: &mut Model,
        config: &AdapterConfig,
        tokenizer: &Tokenizer,
    ) -> Result<(), OutputError> {
        write_adapter(&self.folder, model, config)?;
        tokenizer.write_files(&self.folder)?;
        Ok(())
    }
}

/// A plan's name as part of a folder's.
fn file_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    if name.is_empty() { "plan".to_owned() } else { name }
}

fn next_run(runs: &Path, name: &str, existing: Existing) -> PathBuf {
    let taken = std::fs::read_dir(runs)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_prefix(name)?.strip_prefix('-')?.parse::<u64>().ok())
        .max();
    let number = match (taken, existing) {
        (Some(last), Existing::Resume) => last,
        (Some(last), _) => last + 1,
        (None, _) => 1,
    };
    runs.join(format!("{name}-{number}"))
}

/// Removes what a run writes, and nothing else.
fn clear(folder: &Path) -> Result<(), OutputError> {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        let removed = if name.starts_with("checkpoint-") || name.starts_with(".checkpoint-") {
            std::fs::remove_dir_all(&path)
        } else if matches!(
            name.as_str(),
            "adapter_model.safetensors" | "adapter_config.json" | "report.json" | "metrics.jsonl"
        ) {
            std::fs::remove_file(&path)
        } else {
            Ok(())
        };
        removed.map_err(|source| WriteError::new(&path, source))?;
    }
    Ok(())
}

fn checkpoints(folder: &Path) -> Vec<(u64, PathBuf)> {
    let mut all: Vec<(u64, PathBuf)> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let step = entry.file_name().to_str()?.strip_prefix("checkpoint-")?.parse().ok()?;
            Some((step, entry.path()))
        })
        .collect();
    all.sort();
    all
}

/// The first value in which two settings differ, by its dotted path.
fn first_difference(
    path: &str,
    before: &serde_json::Value,
    now: &serde_json::Value,
) -> Option<(String, String, String)> {
    match (before, now) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            let null = serde_json::Value::Null;
            a.keys().chain(b.keys()).find_map(|key| {
                let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                first_difference(&inner, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null))
            })
        }
        _ if before == now => None,
        _ => Some((path.to_owned(), before.to_string(), now.to_string())),
    }
}

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

fn write_adapter(folder: &Path, model: &mut Model, config: &AdapterConfig) -> Result<(), OutputError> {
    let modules = adapted_modules(model);
    let mut values = std::collections::HashMap::new();
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
/// An adapter that lacks a matrix, or has one of another shape.
pub fn read_adapter(folder: &Path, model: &mut Model) -> Result<(), OutputError> {
    let adapter = peft::Adapter::open(folder)?;
    let modules = adapted_modules(model);
    let mut parameters: std::collections::HashMap<String, ParameterMut<'_>> = model.trained_mut().into_iter().collect();
    for module in &modules {
        for part in [Part::A, Part::B] {
            let values = adapter.read(module, part)?;
            let name = format!("{}.{}.weight", module.module, matrix(part));
            if let Some(ParameterMut::Matrix(parameter)) = parameters.get_mut(&name) {
                parameter.value.change(|tensor| storage::write(tensor, &values));
            }
        }
    }
    Ok(())
}

/// Names and tensors of the optimizer's moments.
fn moments<'a>(model: &'a mut Model) -> Vec<(String, &'a mut crate::network::parameter::Slot<2>)> {
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

fn write_moments(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let moments = moments(model);
    let specs: Vec<TensorSpec> = moments
        .iter()
        .map(|(name, slot)| TensorSpec { name: name.clone(), shape: slot.get().dims().to_vec() })
        .collect();
    write_safetensors(path, &specs, |index| storage::read(moments[index].1.get(), <[f32]>::to_vec))?;
    Ok(())
}

fn read_moments(path: &Path, model: &mut Model) -> Result<(), OutputError> {
    let file = Checkpoint::open(path)?;
    for (name, slot) in moments(model) {
        file.expect_shape(&name, &slot.get().dims())?;
        let values = file.read_all(&name)?;
        slot.change(|tensor| storage::write(tensor, &values));
    }
    Ok(())
}
