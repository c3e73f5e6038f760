//! A run's folder: what was trained, checkpoints, metrics and the report.
//!
//! ```text
//! runs/<plan>-<n>/
//!   adapter_model.safetensors, adapter_config.json, tokenizer files    the result, as PEFT reads it; or, where all weights are trained,
//!   model.safetensors, config.json, tokenizer files ..                 a model's folder
//!   report.json                                                        what was promised and what was measured
//!   metrics.jsonl                                                      one line a step
//!   checkpoint-<step>/                                                 adapter or weights in f32, optimizer states, position
//! ```
//! A checkpoint is written into a folder beside its place and renamed, so a kill leaves the last good one.

mod course;
mod folder;
mod tensors;
mod whole;

use std::path::{Path, PathBuf};

use crate::checkpoint::{CheckpointError, WriteError, write_atomically};
use crate::network::Model;
use crate::peft::{AdapterConfig, AdapterError};
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use course::{State, course};
pub use folder::{Planned, folder_name};
pub use tensors::{adapted_modules, read_adapter};
pub use whole::WholeModel;

use course::first_difference;
use folder::{checkpoints, unfinished};
use tensors::{read_states, write_adapter, write_states};

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
    /// A file lies in its place.
    #[error("the output folder {} is a file, or lies in one; set `output` to a folder", path.display())]
    NotAFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A model that no run made, in a folder that is to hold one.
    #[error("the output folder {} holds a model already, which this run would replace; set `output` to another folder", path.display())]
    HoldsAModel {
        /// The folder.
        path: PathBuf,
    },
    /// Weights without the file that says what they are.
    #[error(
        "{} has no config.json, and a run that trains all weights leaves a model with one; name the model's own folder, from its hub page, or train an adapter: `adapter lora {{ }}`",
        path.display()
    )]
    NoConfig {
        /// The base's folder or file.
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
    /// A checkpoint cannot be read.
    #[error("the checkpoint {} is damaged: {why}", path.display())]
    Damaged {
        /// The checkpoint.
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

/// What a run leaves in its folder.
#[derive(Clone, Debug)]
pub enum Leaves {
    /// An adapter beside its base.
    Adapter(AdapterConfig),
    /// A model, where all weights are trained.
    Model(WholeModel),
}

impl Leaves {
    /// The result of a run.
    fn write(&self, folder: &Path, model: &mut Model) -> Result<(), OutputError> {
        match self {
            Self::Adapter(config) => write_adapter(folder, model, config),
            Self::Model(whole) => whole.write(folder, model),
        }
    }

    /// The same for a checkpoint: to the bit.
    fn write_exact(&self, folder: &Path, model: &mut Model) -> Result<(), OutputError> {
        match self {
            Self::Adapter(config) => write_adapter(folder, model, config),
            Self::Model(_) => whole::write_exact(folder, model),
        }
    }

    fn read_exact(&self, folder: &Path, model: &mut Model) -> Result<(), OutputError> {
        match self {
            Self::Adapter(_) => read_adapter(folder, model),
            Self::Model(_) => whole::read_exact(folder, model),
        }
    }
}

/// A run's folder.
#[derive(Clone, Debug)]
pub struct Output {
    /// The folder.
    pub folder: PathBuf,
}

/// A checkpoint of the plan that resumes.
#[derive(Clone, Debug)]
pub struct Saved {
    path: PathBuf,
    state: State,
}

impl Saved {
    /// Reads where a run stood, for the plan whose course is `now`.
    ///
    /// # Errors
    /// A checkpoint of another plan, or one whose state is damaged.
    pub fn open(path: PathBuf, now: &serde_json::Value) -> Result<Self, OutputError> {
        let damaged = |why: String| OutputError::Damaged { path: path.clone(), why };
        let text = std::fs::read_to_string(path.join("state.json"));
        let text = text.map_err(|error| damaged(format!("state.json: {error}")))?;
        let state: State = serde_json::from_str(&text).map_err(|error| damaged(format!("state.json: {error}")))?;
        let skipped = state.scaler.map_or(0, |scaler| scaler.skipped);
        if state.losses.len() as u64 != state.step || skipped > state.step {
            let (losses, step) = (state.losses.len(), state.step);
            return Err(damaged(format!("state.json: {losses} losses and {skipped} skipped steps in step {step}")));
        }
        // Through text, as the other side came: a number may lose its last bit there.
        let read: serde_json::Value = serde_json::from_str(&now.to_string()).unwrap_or_default();
        if let Some((setting, before, now)) = first_difference(&state.plan, &read) {
            return Err(OutputError::OtherPlan { path, setting, before, now });
        }
        Ok(Self { path, state: State { plan: now.clone(), ..state } })
    }

    /// Reads its tensors into the model.
    ///
    /// # Errors
    /// Damaged files.
    pub fn restore(self, model: &mut Model, leaves: &Leaves) -> Result<State, OutputError> {
        let read = leaves
            .read_exact(&self.path, model)
            .and_then(|()| read_states(&self.path.join("optimizer.safetensors"), model));
        read.map_err(|error| OutputError::Damaged { path: self.path, why: error.to_string() })?;
        Ok(self.state)
    }
}

impl Output {
    /// The newest checkpoint.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        checkpoints(&self.folder).pop().map(|(_, path)| path)
    }

    /// Writes a checkpoint and removes all but the newest `keep`. One that is there already, of the same step, stays.
    ///
    /// # Errors
    /// A full disk, or a folder that may not be written; the checkpoints before it stay.
    pub fn save_checkpoint(
        &self,
        model: &mut Model,
        leaves: &Leaves,
        state: &State,
        keep: u64,
    ) -> Result<PathBuf, OutputError> {
        let place = self.folder.join(format!("checkpoint-{}", state.step));
        if place.exists() {
            return Ok(place);
        }
        let part = unfinished(&self.folder, state.step);
        let failed = |source| WriteError::new(&place, source);
        let written = leaves
            .write_exact(&part, model)
            .and_then(|()| write_states(&part.join("optimizer.safetensors"), model))
            .and_then(|()| {
                let json = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
                Ok(write_atomically(&part.join("state.json"), |out| out.write_all(&json))?)
            })
            .and_then(|()| Ok(std::fs::rename(&part, &place).map_err(failed)?));
        if let Err(error) = written {
            // What was written of it would keep a full disk full.
            let _ = std::fs::remove_dir_all(&part);
            return Err(error);
        }
        sync(&self.folder);
        let mut all = checkpoints(&self.folder);
        while all.len() as u64 > keep.max(1) {
            let (step, oldest) = all.remove(0);
            // Renamed first: a kill leaves no checkpoint that lacks a file.
            let part = unfinished(&self.folder, step);
            let removed = std::fs::rename(&oldest, &part).and_then(|()| std::fs::remove_dir_all(&part));
            removed.map_err(failed)?;
        }
        Ok(place)
    }

    /// Writes the result of a run, and the tokenizer's files beside it.
    ///
    /// # Errors
    /// A full disk, or a folder that may not be written.
    pub fn save(&self, model: &mut Model, leaves: &Leaves, tokenizer: &Tokenizer) -> Result<(), OutputError> {
        tokenizer.write_files(&self.folder)?;
        leaves.write(&self.folder, model)
    }
}

/// Renames in a folder reach the disk; not every system can open a folder for that.
fn sync(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}
