//! Published maximal contexts by card: `data/max_context_public.csv`, for comparison. They are a vendor's table, most of it extrapolated.

use memspec::quantity::Bytes;
use memspec::solve::{Growing, largest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::plan;
use super::record::Record;

/// The first columns by which such a file is known.
pub(super) const HEADER: &str = "model,method,vram_gb,framework,max_context";

/// A line.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    model: String,
    vram_gb: String,
    framework: String,
    max_context: String,
}

/// A published maximal context beside ours.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LongestRow {
    /// The run in a few words.
    pub title: String,
    /// Tokens, as published; `null`: it dies.
    pub published: Option<u64>,
    /// Tokens, as found; 0: not even two.
    pub found: Option<u64>,
    /// Why none was.
    pub skipped: Option<String>,
}

/// Finds the largest context of every line.
///
/// # Errors
/// A line that is no record.
pub(super) fn assess(text: &str) -> Result<Vec<LongestRow>, String> {
    let read: Result<Vec<Line>, csv::Error> = csv::Reader::from_reader(text.as_bytes()).deserialize().collect();
    Ok(read.map_err(|error| error.to_string())?.iter().map(row).collect())
}

fn row(line: &Line) -> LongestRow {
    let found = find(line);
    LongestRow {
        title: format!("{} QLoRA on {} GB, {}", line.model, line.vram_gb, line.framework),
        published: line.max_context.parse().ok(),
        found: found.as_ref().ok().copied(),
        skipped: found.err(),
    }
}

fn find(line: &Line) -> Result<u64, String> {
    // `qlora nf4 r=32 all-linear bs=1 padded`, all of them.
    let record = Record {
        source_set: "unsloth-readme".to_owned(),
        model: line.model.clone(),
        method: "qlora".to_owned(),
        lora_rank: "32".to_owned(),
        lora_targets: "all-linear".to_owned(),
        batch_size: "1".to_owned(),
        seq_len: "2048".to_owned(),
        grad_checkpointing: "True".to_owned(),
        attention: "flash".to_owned(),
        gpu: "A100 80GB".to_owned(),
        compute_precision: "bf16".to_owned(),
        quant: "nf4".to_owned(),
        optimizer: "adamw_8bit".to_owned(),
        framework: line.framework.clone(),
        ..Record::default()
    };
    let mut setup = plan::read(&record)?.setup;
    setup.train.activation_offload = line.framework.contains("offloaded");
    let gib: f64 = line.vram_gb.parse().map_err(|_| "no amount of memory".to_owned())?;
    setup.budget.device_memory = Bytes((gib * (1u64 << 30) as f64) as u64);
    // The table goes beyond the positions that the model was made for.
    setup.model.max_positions = setup.model.max_positions.max(1 << 20);
    largest(&setup, Growing::Context).map(|found| found.value).map_err(|error| error.to_string())
}
