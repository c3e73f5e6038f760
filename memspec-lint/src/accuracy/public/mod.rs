//! Predictions beside figures that others published: `data/measured_public.csv`, `data/verdicts_public.csv`, `data/max_context_public.csv`.
//!
//! A published run says less than a measured one. What it leaves open is assumed and named, or it is not specific enough; a figure counts for no more
//! digits than it was printed with.

mod longest;
mod plan;
mod record;
mod summary;
mod text;
mod verdict;

use std::collections::BTreeMap;

use memspec::cost::{Estimate, Interval, PhaseName, estimate};
use schemars::JsonSchema;
use serde::Serialize;

pub use longest::LongestRow;
use plan::Reading;
use record::Record;
pub use record::{Metric, Published};
pub use summary::{PublicGroup, Verdicts};
pub use text::{longest as longest_text, table, verdicts as verdicts_text};
pub use verdict::VerdictRow;

use super::PhaseFigure;

/// What `accuracy --json` prints of published figures.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublicReport {
    /// One for each line.
    pub rows: Vec<PublicRow>,
    /// Errors by source and grade.
    pub by_source: BTreeMap<String, PublicGroup>,
    /// Errors by grade.
    pub by_grade: BTreeMap<String, PublicGroup>,
}

/// A file of published runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicFile {
    /// Figures.
    Figures,
    /// Fates.
    Verdicts,
    /// Maximal contexts.
    Longest,
}

impl PublicFile {
    /// Which file a text is, by its first line; `None`: another one.
    pub fn of(text: &str) -> Option<Self> {
        match text {
            _ if text.starts_with(record::HEADER) => Some(Self::Figures),
            _ if text.starts_with(verdict::HEADER) => Some(Self::Verdicts),
            _ if text.starts_with(longest::HEADER) => Some(Self::Longest),
            _ => None,
        }
    }
}

/// A published figure and what was predicted of its run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublicRow {
    /// The row's name.
    pub id: String,
    /// Where it comes from.
    pub source_set: String,
    /// How well its configuration is known, A to C.
    pub grade: String,
    /// The run in a few words.
    pub title: String,
    /// The prediction, or why there is none.
    #[serde(flatten)]
    pub result: PublicResult,
}

/// A prediction, or why there is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PublicResult {
    /// What was predicted beside what was published.
    Predicted(Box<PublicPrediction>),
    /// The row says too little, or asks for what no engine costs.
    Skipped {
        /// Why.
        skipped: String,
    },
}

/// What was predicted of a row, beside what was published.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PublicPrediction {
    /// What the figure counts.
    pub metric: Metric,
    /// The prediction, in bytes.
    pub predicted: u64,
    /// What was published, in bytes; `null`: the run died.
    pub published: Option<Published>,
    /// How far the prediction is from the range that the figure can mean.
    pub error: Option<f64>,
    /// What the row does not say, and what was taken.
    pub assumed: Vec<String>,
    /// Reserved bytes, and phases, where the row has them beside its figure.
    pub phases: Vec<(&'static str, PhaseFigure)>,
}

impl PublicRow {
    /// The prediction.
    pub fn prediction(&self) -> Option<&PublicPrediction> {
        match &self.result {
            PublicResult::Predicted(prediction) => Some(prediction),
            PublicResult::Skipped { .. } => None,
        }
    }

    /// Why there is none.
    pub fn skipped(&self) -> Option<&str> {
        match &self.result {
            PublicResult::Predicted(_) => None,
            PublicResult::Skipped { skipped } => Some(skipped),
        }
    }
}

/// Predicts every record of a text.
///
/// # Errors
/// A line that is no record.
pub fn assess_public(text: &str) -> Result<PublicReport, String> {
    let records = csv::Reader::from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<Vec<Record>, csv::Error>>()
        .map_err(|error| error.to_string())?;
    let rows: Vec<PublicRow> = records.iter().map(predict).collect();
    let (by_source, by_grade) = (summary::by_source(&rows), summary::by_grade(&rows));
    Ok(PublicReport { rows, by_source, by_grade })
}

/// Predicts every fate of a text.
///
/// # Errors
/// A line that is no record.
pub fn assess_verdicts(text: &str) -> Result<Vec<VerdictRow>, String> {
    verdict::assess(text)
}

/// Finds every maximal context of a text.
///
/// # Errors
/// A line that is no record.
pub fn assess_longest(text: &str) -> Result<Vec<LongestRow>, String> {
    longest::assess(text)
}

fn predict(record: &Record) -> PublicRow {
    let made = plan::read(record).and_then(|reading| {
        let estimate = estimate(&reading.setup).map_err(|error| error.to_string())?;
        Ok(prediction(record, reading, &estimate))
    });
    PublicRow {
        id: record.id.clone(),
        source_set: record.source_set.clone(),
        grade: record.grade.clone(),
        title: format!(
            "{} {} {} {} x {}",
            record.model, record.method, record.attention, record.batch_size, record.seq_len
        ),
        result: match made {
            Ok(prediction) => PublicResult::Predicted(Box::new(prediction)),
            Err(skipped) => PublicResult::Skipped { skipped },
        },
    }
}

fn prediction(record: &Record, reading: Reading, estimate: &Estimate) -> PublicPrediction {
    let metric = record.metric();
    let peak = &estimate.peak;
    let training = |name| estimate.phase(name).unwrap_or(0);
    let steps = [PhaseName::Forward, PhaseName::Loss, PhaseName::Backward, PhaseName::Optimizer];
    let allocated = steps.map(training).into_iter().max().unwrap_or(peak.allocated.bytes);
    let (predicted, most) = match metric {
        Metric::Allocated => (allocated, allocated),
        Metric::Reserved => (peak.reserved.bytes, peak.reserved.bytes),
        Metric::Process => (peak.process.bytes, peak.process.bytes),
        Metric::Unstated => (allocated, peak.process.bytes),
    };
    let published = record.published();
    let of = |predicted: Option<u64>, name| PhaseFigure { predicted, measured: record.noted_mib(name) };
    let interval = |interval: Interval| Some(interval.bytes);
    let phases = vec![
        ("resident", of(estimate.phases.iter().find(|p| p.name == PhaseName::Init).map(|p| p.after_bytes), "resident")),
        ("forward", of(estimate.phase(PhaseName::Forward), "peak_fwd")),
        ("backward", of(estimate.phase(PhaseName::Backward), "peak_bwd")),
        ("optimizer", of(estimate.phase(PhaseName::Optimizer), "peak_opt")),
        ("reserved", of(interval(peak.reserved), "peak_reserved_mib")),
        ("process", of(interval(peak.process), "process_mib")),
    ];
    PublicPrediction {
        metric,
        predicted,
        published,
        error: published.map(|published| published.error(predicted, most)),
        assumed: reading.assumed,
        phases: phases.into_iter().filter(|(_, figure)| figure.measured.is_some()).collect(),
    }
}
