//! Published runs that completed or died on a known card: `data/verdicts_public.csv`.

use memspec::cost::{Estimate, estimate, inference};
use memspec::device;
use memspec::model::{self, Environment};
use memspec::plan::{CachePrecision, ServePrecision};
use memspec::quantity::Bytes;
use memspec::setup::{Serve, Setup};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Fate, Outcome};
use super::plan::{self, hub_name};
use super::record::Record;

/// The first columns by which such a file is known.
pub(super) const HEADER: &str = "source,model,method,";
/// How near to its limit a run is anyone's guess, as a share of the limit.
const EDGE: f64 = 0.02;
/// Tokens of a prompt where a source that generates does not say.
const PROMPT: u64 = 2048;

/// A line.
#[derive(Clone, Debug, Deserialize)]
struct Verdict {
    source: String,
    model: String,
    method: String,
    lora_rank: String,
    batch_size: String,
    seq_len: String,
    attention: String,
    gpu: String,
    capacity_gib: String,
    outcome: String,
}

/// A run's fate and what was predicted of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictRow {
    /// Where it comes from.
    pub source: String,
    /// The run in a few words.
    pub title: String,
    /// What happened and what was predicted; `null`: it says too little, or asks for what no engine costs.
    pub outcome: Option<Outcome>,
    /// It is within 2 % of its limit.
    pub near_edge: bool,
    /// What the source does not say, and what was taken.
    pub assumed: Vec<String>,
    /// Why there is no prediction.
    pub skipped: Option<String>,
}

/// Predicts every line.
///
/// # Errors
/// A line that is no record.
pub(super) fn assess(text: &str) -> Result<Vec<VerdictRow>, String> {
    let read: Result<Vec<Verdict>, csv::Error> = csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
    Ok(read.map_err(|error| error.to_string())?.iter().map(row).collect())
}

fn row(verdict: &Verdict) -> VerdictRow {
    let made = if verdict.method == "inference" { serving(verdict) } else { training(verdict) };
    let measured = if verdict.outcome == "completed" { Fate::Fits } else { Fate::Oom };
    let (fate, assumed, skipped) = match made {
        Ok((predicted, near_edge, assumed)) => (Some((predicted, near_edge)), assumed, None),
        Err(why) => (None, Vec::new(), Some(why)),
    };
    VerdictRow {
        source: verdict.source.clone(),
        title: format!(
            "{} {} {} x {} on {}",
            verdict.model, verdict.method, verdict.batch_size, verdict.seq_len, verdict.gpu
        ),
        outcome: fate.map(|(predicted, near_edge)| Outcome { predicted, measured: Some(measured), near_edge }),
        near_edge: fate.is_some_and(|(_, near_edge)| near_edge),
        assumed,
        skipped,
    }
}

type Foretold = (Fate, bool, Vec<String>);

/// A fine-tune: whether it fits the card.
fn training(verdict: &Verdict) -> Result<Foretold, String> {
    let record = record(verdict)?;
    let mut reading = plan::read(&record)?;
    if let Ok(capacity) = verdict.capacity_gib.parse::<f64>() {
        reading.setup.budget.device_memory = Bytes((capacity * (1u64 << 30) as f64) as u64);
    }
    let fate = |setup: &Setup| -> Result<Fate, String> {
        let fits = |estimate: Estimate| if estimate.fits { Fate::Fits } else { Fate::Oom };
        estimate(setup).map(fits).map_err(|error| error.to_string())
    };
    let predicted = fate(&reading.setup)?;
    let mut near = false;
    for factor in [1.0 - EDGE, 1.0 + EDGE] {
        let mut setup = reading.setup.clone();
        setup.budget.device_memory.0 = (setup.budget.device_memory.0 as f64 * factor) as u64;
        near |= fate(&setup)? != predicted;
    }
    Ok((predicted, near, reading.assumed))
}

/// Generating: whether weights, cache and a prompt fit the card.
fn serving(verdict: &Verdict) -> Result<Foretold, String> {
    let name = hub_name(&verdict.model).ok_or_else(|| format!("`{}` is not in the catalog", verdict.model))?;
    let found = model::find(name, std::path::Path::new(""), &Environment::default()).map_err(|e| e.to_string())?;
    let card = plan::device_name(&verdict.gpu).and_then(device::get).ok_or("the card is not in the catalog")?;
    let serve = Serve { precision: ServePrecision::Bf16, context: PROMPT, concurrency: 1, cache: CachePrecision::Bf16 };
    let takes = inference(&found.architecture, &serve, &card).map_err(|error| error.to_string())?.total.bytes;
    let usable = card.usable.0;
    let near = takes.abs_diff(usable) as f64 <= EDGE * usable as f64;
    let fate = if takes <= usable { Fate::Fits } else { Fate::Oom };
    Ok((fate, near, vec!["16 bit weights, a prompt of 2048 tokens".to_owned()]))
}

/// The same run as a record of a published figure: what its source says of all its runs.
fn record(verdict: &Verdict) -> Result<Record, String> {
    let gpus = verdict.gpu.split_once('x').and_then(|(count, _)| count.parse::<u64>().ok()).unwrap_or(1);
    let record = Record {
        source_set: verdict.source.clone(),
        model: verdict.model.clone(),
        method: verdict.method.clone(),
        lora_rank: verdict.lora_rank.clone(),
        batch_size: verdict.batch_size.clone(),
        seq_len: verdict.seq_len.clone(),
        attention: verdict.attention.clone(),
        gpu: verdict.gpu.clone(),
        n_gpus: gpus.to_string(),
        optimizer: "AdamW".to_owned(),
        compute_precision: "bf16".to_owned(),
        ..Record::default()
    };
    match verdict.source.as_str() {
        "fitcheck-boundary" => Ok(Record {
            lora_targets: "q+k+v+o".to_owned(),
            seq_kind: "fixed".to_owned(),
            quant: "nf4".to_owned(),
            compute_precision: "fp16".to_owned(),
            grad_checkpointing: "True".to_owned(),
            ..record
        }),
        "litgpt-resource" | "litgpt-confighub" => Ok(Record {
            lora_targets: "q+v".to_owned(),
            quant: "none".to_owned(),
            // With several cards litgpt recomputes blocks (`activation_checkpointing_policy`).
            grad_checkpointing: if gpus > 1 { "True" } else { "False" }.to_owned(),
            sharding: "FSDP".to_owned(),
            ..record
        }),
        "liger-hf-example" => Ok(Record {
            quant: "none".to_owned(),
            grad_checkpointing: "True".to_owned(),
            sharding: "FSDP".to_owned(),
            ..record
        }),
        other => Err(format!("what `{other}` ran is not known well enough")),
    }
}
