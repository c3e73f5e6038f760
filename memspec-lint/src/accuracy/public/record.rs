//! The records of `data/measured_public.csv`, as they are written there.

use serde::Deserialize;

/// The first columns by which a file of published figures is known.
pub(super) const HEADER: &str = "id,source_set,model,method,";

/// A line. What a source does not say is empty.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) source_set: String,
    pub(super) model: String,
    pub(super) method: String,
    pub(super) lora_rank: String,
    pub(super) lora_targets: String,
    pub(super) batch_size: String,
    pub(super) seq_len: String,
    pub(super) seq_kind: String,
    pub(super) grad_checkpointing: String,
    pub(super) attention: String,
    pub(super) gpu: String,
    pub(super) n_gpus: String,
    pub(super) sharding: String,
    pub(super) compute_precision: String,
    pub(super) quant: String,
    pub(super) double_quant: String,
    pub(super) optimizer: String,
    pub(super) framework: String,
    pub(super) measured_value: String,
    pub(super) unit: String,
    pub(super) metric: String,
    pub(super) grade: String,
    pub(super) notes: String,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The highest of live tensors.
    Allocated,
    /// The allocator's segments at their highest.
    Reserved,
    /// What the process holds on the card.
    Process,
    /// The source does not say: from allocated to process.
    Unstated,
}

/// A published figure in bytes: a range as wide as its last digit and its unit leave it open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Published {
    /// The least that it can mean.
    pub low: u64,
    /// The most.
    pub high: u64,
}

impl Published {
    /// How far `low..=high` of a prediction is off: 0 where both ranges meet, else the distance over the published figure.
    pub fn error(self, low: u64, high: u64) -> f64 {
        let (low, high) = (low as f64, high as f64);
        let (least, most) = (self.low as f64, self.high as f64);
        if low > most {
            (low - most) / most
        } else if high < least {
            (high - least) / least
        } else {
            0.0
        }
    }
}

impl Record {
    /// What the figure counts.
    pub(super) fn metric(&self) -> Metric {
        let metric = self.metric.to_lowercase();
        match () {
            () if metric.contains("alloc") || metric.contains("active") => Metric::Allocated,
            () if metric.contains("reserved") => Metric::Reserved,
            () if metric.contains("nvidia-smi") || metric.contains("process") => Metric::Process,
            () => Metric::Unstated,
        }
    }

    /// The figure; `None`: the run died, or its unit is unknown.
    pub(super) fn published(&self) -> Option<Published> {
        const GIB: f64 = (1u64 << 30) as f64;
        let value: f64 = self.measured_value.parse().ok()?;
        // `GB` alone may be either.
        let (least, most) = match self.unit.as_str() {
            "B" => (1.0, 1.0),
            "MiB" => (1024.0 * 1024.0, 1024.0 * 1024.0),
            "GiB" => (GIB, GIB),
            "GB10" => (1e9, 1e9),
            "GB?" => (1e9, GIB),
            _ => return None,
        };
        let digits = self.measured_value.split_once('.').map_or(0, |(_, after)| after.len() as i32);
        let half = if self.unit == "B" { 0.0 } else { 0.5 * 10f64.powi(-digits) };
        Some(Published { low: ((value - half) * least) as u64, high: ((value + half) * most) as u64 })
    }

    /// A figure in the notes, `name=12.5`, in MiB.
    pub(super) fn noted_mib(&self, name: &str) -> Option<u64> {
        let notes = self.notes.split("; ");
        let value = notes.filter_map(|note| note.split_once('=')).find(|(key, _)| *key == name)?.1;
        value.parse::<f64>().ok().map(|mib| (mib * 1024.0 * 1024.0) as u64)
    }

    /// A whole number.
    pub(super) fn count(text: &str) -> Option<u64> {
        text.split(['.', ' ']).next().and_then(|text| text.parse().ok())
    }
}
