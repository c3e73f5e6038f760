//! Which folder a run writes to, and what it may do there.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use memspec::setup::Setup;

use super::{Existing, Output, OutputError, whole};
use crate::checkpoint::WriteError;

/// What a run leaves beside its checkpoints, without a whole model's files, and the tokenizer's, which the next run writes again.
const RESULTS: [&str; 4] = ["adapter_model.safetensors", "adapter_config.json", "report.json", "metrics.jsonl"];

/// The folder that a run will have. Nothing is made or removed before [`Planned::make`], so that a run that fails
/// before it starts leaves everything as it was.
#[derive(Clone, Debug)]
pub struct Planned {
    folder: PathBuf,
    existing: Existing,
    /// The folder of numbered runs and the plan's name in it, where the plan names no `output`.
    numbered: Option<(PathBuf, String)>,
    /// The plan's own model lies in the folder.
    is_base: bool,
}

impl Planned {
    /// The plan's `output`, or the next free `runs/<plan>-<n>` beside the plan's file (the last one to resume).
    ///
    /// # Errors
    /// A folder that is not empty when `existing` refuses that, one that is no folder, or none to resume from. Where all weights are
    /// trained, one with a model that is not an earlier run's.
    pub fn find(setup: &Setup, base: &Path, existing: Existing) -> Result<Self, OutputError> {
        let mut planned = match &setup.output {
            Some(folder) => Self { folder: folder.clone(), existing, numbered: None, is_base: false },
            None => {
                let (runs, name) = (base.join("runs"), folder_name(&setup.name));
                let last = last_run(&runs, &name);
                let number = if existing == Existing::Resume { last } else { last + 1 };
                let folder = runs.join(format!("{name}-{number}"));
                Self { folder, existing, numbered: Some((runs, name)), is_base: false }
            }
        };
        planned.is_base = setup.weights.as_deref().is_some_and(|weights| same(&planned.folder, weights));
        let path = planned.folder.clone();
        let used = std::fs::read_dir(&path).map(|mut entries| entries.next().is_some());
        match used {
            // a numbered folder is free, or becomes another run's in this moment
            Ok(true) if existing == Existing::Refuse && planned.numbered.is_none() => {
                Err(OutputError::NotEmpty { path })
            }
            Err(error) if error.kind() == ErrorKind::NotADirectory => Err(OutputError::NotAFolder { path }),
            _ if existing == Existing::Resume && planned.newest_checkpoint().is_none() => {
                Err(OutputError::NothingToResume { path })
            }
            _ if setup.adapter.is_none() && (planned.is_base || whole::is_of_a_run(&path) == Some(false)) => {
                Err(OutputError::HoldsAModel { path })
            }
            _ => Ok(planned),
        }
    }

    /// The newest checkpoint of an earlier run.
    pub fn newest_checkpoint(&self) -> Option<PathBuf> {
        checkpoints(&self.folder).pop().map(|(_, path)| path)
    }

    /// Makes the folder; an earlier run is removed from it, or what a killed one left unfinished.
    ///
    /// # Errors
    /// A folder that may not be written.
    pub fn make(mut self) -> Result<Output, OutputError> {
        let number_of = self.numbered.filter(|_| self.existing != Existing::Resume);
        if let Some((runs, name)) = number_of {
            std::fs::create_dir_all(&runs).map_err(|source| WriteError::new(&runs, source))?;
            // Of two runs that start at once, each takes a number of its own.
            while let Err(source) = std::fs::create_dir(&self.folder) {
                if source.kind() != ErrorKind::AlreadyExists {
                    return Err(WriteError::new(&self.folder, source).into());
                }
                self.folder = runs.join(format!("{name}-{}", last_run(&runs, &name) + 1));
            }
        } else {
            if self.existing == Existing::Overwrite {
                clear(&self.folder)?;
                if !self.is_base && whole::is_of_a_run(&self.folder) == Some(true) {
                    remove(&self.folder, &whole::FILES)?;
                }
            }
            remove_unfinished(&self.folder)?;
            std::fs::create_dir_all(&self.folder).map_err(|source| WriteError::new(&self.folder, source))?;
        }
        Ok(Output { folder: self.folder })
    }
}

/// A plan's name as a folder's, or the beginning of one.
pub fn folder_name(name: &str) -> String {
    let name: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }).collect();
    if name.is_empty() { "plan".to_owned() } else { name }
}

/// Two paths lead to the same place.
fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

/// The highest number of a plan's runs, 0 when there is none.
fn last_run(runs: &Path, name: &str) -> u64 {
    entries(runs)
        .filter_map(|(entry, _)| entry.strip_prefix(name)?.strip_prefix('-')?.parse::<u64>().ok())
        .max()
        .unwrap_or(0)
}

/// Checkpoints, the oldest first.
pub(super) fn checkpoints(folder: &Path) -> Vec<(u64, PathBuf)> {
    let mut all: Vec<(u64, PathBuf)> = entries(folder)
        .filter_map(|(name, path)| Some((name.strip_prefix("checkpoint-")?.parse().ok()?, path)))
        .collect();
    all.sort();
    all
}

/// Where a checkpoint is written before it is renamed to its place.
pub(super) fn unfinished(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!(".checkpoint-{step}.part"))
}

/// Removes what an earlier run wrote, and nothing else.
fn clear(folder: &Path) -> Result<(), WriteError> {
    for (_, path) in checkpoints(folder) {
        std::fs::remove_dir_all(&path).map_err(|source| WriteError::new(&path, source))?;
    }
    remove(folder, &RESULTS)
}

/// Removes those of the files that are there.
fn remove(folder: &Path, names: &[&str]) -> Result<(), WriteError> {
    for path in names.iter().map(|name| folder.join(name)) {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => return Err(WriteError::new(&path, source)),
            _ => {}
        }
    }
    Ok(())
}

/// Removes the parts of files and checkpoints that a killed run was writing.
fn remove_unfinished(folder: &Path) -> Result<(), WriteError> {
    for (name, path) in entries(folder) {
        if name.starts_with('.') && name.ends_with(".part") {
            let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
            removed.map_err(|source| WriteError::new(&path, source))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}
