//! Predictions beside measured runs: rows in the shape of `data/measured.jsonl` or `data/limits.jsonl`, one JSON object a line.
//!
//! ```
//! let report = memspec_lint::accuracy::assess(r#"{"job": {"model": "llama3-8b", "rnak": 8}}"#);
//! assert!(report.rows[0].error().unwrap().ends_with("did you mean `rank`?"));
//! ```

mod bars;
pub mod page;
mod predict;
pub mod public;
mod row;
mod summary;
mod text;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

pub use bars::{Bar, bars, public_bars};
pub use predict::predict;
pub use row::{Measured, ReadRow};
pub use summary::{Errors, Group, Outcomes, PhaseErrors, Summary};
pub use text::table;

/// The fields of a row that say what was allocated in a phase or after it, in the order of a run.
pub const PHASES: [&str; 18] = [
    "load_alloc",
    "load_peak",
    "ready_alloc",
    "init_peak",
    "prepare_peak",
    "prepared_alloc",
    "fwd_peak",
    "after_fwd",
    "bwd_peak",
    "after_bwd",
    "opt_peak",
    "after_opt",
    "eval_peak",
    "after_eval",
    "save_peak",
    "after_save",
    "merge_peak",
    "after_merge",
];

/// What `accuracy --json` prints.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "memspec-lint accuracy")]
pub struct Report {
    /// One for each line of the file that is neither empty nor a comment.
    pub rows: Vec<Row>,
    /// How far the predictions were off.
    pub summary: Summary,
}

/// A row and what was predicted of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The row's job as the file has it; `null` where it has none.
    #[schemars(with = "serde_json::Value")]
    pub job: Option<Box<RawValue>>,
    /// The prediction, or why there is none.
    #[serde(flatten)]
    pub result: Result,
    /// The line of the file, from 1.
    #[serde(skip)]
    pub line: usize,
    /// What its allocator might hold, in bytes; of rows with a limit.
    #[serde(skip)]
    pub limit: Option<u64>,
    /// What the summary groups it by.
    #[serde(skip)]
    pub labels: Labels,
}

/// A prediction, or why there is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Result {
    /// What was predicted beside what was measured.
    Predicted(Box<Prediction>),
    /// The row is not understood, or no engine costs it.
    Failed {
        /// What is wrong, with the row's number.
        error: String,
    },
}

impl Row {
    /// The prediction.
    pub fn prediction(&self) -> Option<&Prediction> {
        match &self.result {
            Result::Predicted(prediction) => Some(prediction),
            Result::Failed { .. } => None,
        }
    }

    /// Why there is none.
    pub fn error(&self) -> Option<&str> {
        match &self.result {
            Result::Predicted(_) => None,
            Result::Failed { error } => Some(error),
        }
    }
}

/// What was predicted of a row, beside what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Prediction {
    /// The highest of live tensors while the job trains (and while it is wrapped for several GPUs), as the row's `peak`.
    pub allocated: Figure,
    /// The allocator's segments at their highest, as `reserved_peak`.
    pub reserved: Figure,
    /// What the process holds on the GPU, as `process_bytes`.
    pub process: Figure,
    /// Live tensors in and after each phase, by the row's own names.
    #[schemars(with = "std::collections::BTreeMap<String, PhaseFigure>")]
    #[serde(serialize_with = "by_name")]
    pub phases: Vec<(&'static str, PhaseFigure)>,
    /// Whether it fits under its limit; only for rows with a limit or an outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

fn by_name<S: serde::Serializer>(
    phases: &[(&'static str, PhaseFigure)],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_map(phases.iter().map(|(name, figure)| (name, figure)))
}

/// A predicted figure with its interval, and the measured one, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Figure {
    /// The prediction.
    pub predicted: u64,
    /// The interval's lower end.
    pub low: u64,
    /// The interval's upper end.
    pub high: u64,
    /// What was measured; `null` where the row does not say.
    pub measured: Option<u64>,
}

impl Figure {
    /// (predicted - measured) / measured.
    pub fn error(&self) -> Option<f64> {
        relative(self.predicted, self.measured?)
    }

    /// The measured figure is within the interval.
    pub fn inside(&self) -> Option<bool> {
        Some((self.low..=self.high).contains(&self.measured?))
    }

    /// The interval's width over the prediction.
    pub fn width(&self) -> f64 {
        self.high.saturating_sub(self.low) as f64 / self.predicted.max(1) as f64
    }
}

/// A phase's figure, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PhaseFigure {
    /// The prediction; `null` where the engine's replay has no such phase.
    pub predicted: Option<u64>,
    /// What was measured; `null` where the row does not say.
    pub measured: Option<u64>,
}

impl PhaseFigure {
    /// (predicted - measured) / measured; nothing where less than [`TOO_LITTLE`] was measured, as before FSDP's first step with everything
    /// on the host.
    pub fn error(&self) -> Option<f64> {
        relative(self.predicted?, self.measured.filter(|measured| *measured >= TOO_LITTLE)?)
    }
}

/// Bytes below which a share of them says nothing: 1 MiB.
pub const TOO_LITTLE: u64 = 1 << 20;

fn relative(predicted: u64, measured: u64) -> Option<f64> {
    (measured > 0).then(|| (predicted as f64 - measured as f64) / measured as f64)
}

/// Whether a run ends or dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It ends.
    Fits,
    /// It runs out of memory.
    Oom,
}

/// What was predicted under a limit, and what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outcome {
    /// By the allocator's replay under the limit.
    pub predicted: Fate,
    /// By the run; `null` where the row does not say.
    pub measured: Option<Fate>,
    /// With a limit 2 % lower or higher the prediction would be the other.
    #[serde(skip)]
    pub near_edge: bool,
}

/// What the summary groups a row by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// `trl`, `unsloth`.
    pub stack: String,
    /// The model as the job names it.
    pub model: String,
    /// `full`, `lora`, `lora nf4`, `lora int8`.
    pub method: String,
    /// GPUs.
    pub world: u64,
    /// The job in a few words: what it has beside the defaults.
    pub title: String,
}

/// Predicts every row of a text.
pub fn assess(text: &str) -> Report {
    let rows: Vec<Row> = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map(|(index, line)| predict(index + 1, line))
        .collect();
    let summary = Summary::of(&rows);
    Report { rows, summary }
}

/// The JSON schema of [`Report`], as `schemas/accuracy.schema.json` has it.
pub fn schema() -> String {
    crate::output::estimate::schema_of::<Report>()
}
