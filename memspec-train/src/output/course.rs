//! Where a run stands, and what of its plan must stay the same for it to go on.

use memspec::plan::SampleOrder;
use memspec::setup::Setup;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::{Dataset, Position};
use crate::prepare::Prepared;
use crate::scaler::LossScaler;

/// Where a run stands, beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// Steps done, those that were left out for an overflow among them.
    pub step: u64,
    /// How far the data were read.
    pub position: Position,
    /// The loss of each step so far; of a step that overflowed it may be no number.
    #[serde(deserialize_with = "numbers_or_none")]
    pub losses: Vec<f32>,
    /// The scale of the loss in fp16, and how it came about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scaler: Option<LossScaler>,
    /// What decides the course of training, to compare with the plan that resumes.
    pub plan: Value,
}

impl State {
    /// What the loss of the next step is multiplied with.
    pub fn loss_scale(&self) -> f32 {
        self.scaler.map_or(1.0, |scaler| scaler.scale)
    }

    /// Steps that were not left out: those that optimizer and schedule know of, as in transformers' `Trainer`.
    pub fn taken(&self) -> u64 {
        self.step - self.scaler.map_or(0, |scaler| scaler.skipped)
    }
}

/// JSON writes what is no number as `null`.
fn numbers_or_none<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<f32>, D::Error> {
    let numbers = Vec::<Option<f32>>::deserialize(from)?;
    Ok(numbers.into_iter().map(|number| number.unwrap_or(f32::NAN)).collect())
}

/// What of a setup decides the course of training: where it runs and where it is written do not.
pub fn course(setup: &Setup, prepared: &Prepared) -> Value {
    serde_json::json!({
        "model": setup.model_name,
        "seed": setup.seed,
        "quantize": setup.quantize,
        "adapter": setup.adapter,
        "data": {
            "loss_on": setup.data.loss_on,
            "context": setup.data.context,
            "packing": setup.data.packing,
            // Only where it is another: without it the course is that of versions that did not know it.
            "order": (setup.data.order != SampleOrder::Random).then_some(setup.data.order),
            "padding": setup.data.padding,
            "path": content(&prepared.train),
        },
        "train": {
            "precision": setup.train.precision,
            // Only where it is on: without it the course is that of versions that did not know it.
            "tf32": setup.train.tf32.then_some(true),
            "micro_batch": setup.train.micro_batch,
            "accumulate": setup.train.accumulate,
            "optimizer": setup.train.optimizer,
            "learning_rate": setup.train.learning_rate,
            "schedule": setup.train.schedule,
            "warmup": setup.train.warmup,
            "weight_decay": setup.train.weight_decay,
            "betas": setup.train.betas,
            "clip": setup.train.clip,
            "steps": prepared.steps,
        },
    })
}

/// What a data file holds, wherever it lies: the same plan may be given by another path, or its folder may have moved.
fn content(data: &Dataset) -> String {
    format!("{} samples of {} tokens ({:016x})", data.len(), data.tokens(), data.fingerprint())
}

/// The first value in which two settings differ, by its dotted path: then and now.
pub(super) fn first_difference(before: &Value, now: &Value) -> Option<(String, String, String)> {
    difference("", before, now)
}

fn difference(path: &str, before: &Value, now: &Value) -> Option<(String, String, String)> {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) => a.keys().chain(b.keys()).find_map(|key| {
            let inner = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            difference(&inner, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null))
        }),
        _ if before == now => None,
        _ => Some((path.to_owned(), text(before), text(now))),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "not there".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
