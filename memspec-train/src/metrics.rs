//! `metrics.jsonl`: one line for each step.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint::{WriteError, write_atomically};
use crate::run::StepMetrics;

/// The open file.
#[derive(Debug)]
pub struct Metrics {
    file: File,
    path: PathBuf,
}

impl Metrics {
    /// Opens the file of a run that has done `step` steps; lines of later steps, from a run that was killed, are dropped.
    ///
    /// # Errors
    /// A full disk, or a folder that may not be written.
    pub fn open(folder: &Path, step: u64) -> Result<Self, WriteError> {
        let path = folder.join("metrics.jsonl");
        let kept = kept_lines(&path, step);
        write_atomically(&path, |out| kept.iter().try_for_each(|line| writeln!(out, "{line}")))?;
        let opened = File::options().append(true).open(&path);
        let file = opened.map_err(|source| WriteError::new(&path, source))?;
        Ok(Self { file, path })
    }

    /// Adds a step's line.
    ///
    /// # Errors
    /// A full disk.
    pub fn write(&mut self, metrics: &StepMetrics) -> Result<(), WriteError> {
        let mut line = serde_json::to_string(metrics).unwrap_or_default();
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|source| WriteError::new(&self.path, source))
    }
}

fn kept_lines(path: &Path, step: u64) -> Vec<String> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    BufReader::new(file)
        .lines()
        .map_while(Result::ok)
        .filter(|line| {
            let line: Option<serde_json::Value> = serde_json::from_str(line).ok();
            line.and_then(|line| line.get("step")?.as_u64()).is_some_and(|written| written <= step)
        })
        .collect()
}
