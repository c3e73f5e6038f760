//! Plans for a model on a device: those that fit, the best first.

use std::cmp::Ordering;
use std::path::Path;

use crate::cost::{CostError, Estimate, Time, estimate, time};
use crate::device::{self, DeviceKind};
use crate::model::Environment;
use crate::plan::{
    self, AdapterKind, Checkpointing, EngineName, Name, OptimizerKind, Plan, Precision, QuantizeKind, Schedule,
    Targets, Warmup,
};
use crate::quantity::Tokens;
use crate::setup::{Setup, Unresolved, resolve};

/// Ranks that are tried, the best first: the guide's.
const RANKS: &[u32] = &[64, 32, 16, 8];
/// Contexts that are tried where none is asked for.
const CONTEXTS: &[u64] = &[2048, 1024, 512];
/// Micro batches that are tried, of a step of [`SAMPLES`].
const MICRO_BATCHES: &[u32] = &[8, 4, 2, 1];
/// Samples of an optimizer step, however they are divided.
const SAMPLES: u32 = 16;

/// What is wished for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The model as a plan names it.
    pub model: String,
    /// Where it may run.
    pub places: Vec<Place>,
    /// Tokens of a sample; `None`: 2048, or fewer where those do not fit.
    pub context: Option<u64>,
    /// How; `None`: any.
    pub method: Option<Method>,
    /// Whose engines may run it.
    pub engines: Vec<EngineName>,
}

/// Somewhere to run.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Place {
    /// A device or a rented machine, as a plan names it.
    pub device: String,
    /// Hours a month that are paid for; `None`: no limit was given.
    pub hours_a_month: Option<f64>,
}

/// How a model is trained, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All weights.
    Full,
    /// LoRA beside them.
    Lora,
}

/// How the base weights are stored, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum Bits {
    /// As they are published.
    #[serde(rename = "16")]
    Sixteen,
    /// int8.
    #[serde(rename = "8")]
    Eight,
    /// NF4 with double quantization.
    #[serde(rename = "4")]
    Four,
}

/// A plan that fits.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// The plan, complete but for the data.
    pub plan: Plan,
    /// How it trains.
    pub method: Method,
    /// How it stores the base weights.
    pub bits: Bits,
    /// The adapter's rank.
    pub rank: Option<u32>,
    /// Tokens of a sample.
    pub context: u64,
    /// Where it runs.
    pub place: Place,
    /// What it takes.
    pub estimate: Estimate,
    /// How fast it is, where that is known.
    pub time: Option<Time>,
    /// It fits and leaves some of the device free ([`ROOM`]).
    pub roomy: bool,
}

/// The part of a device's memory that a comfortable plan takes at most, at the upper end of its estimate.
pub const ROOM: f64 = 0.92;

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Suggested {
    /// The plans that fit, the best first.
    pub plans: Vec<Suggestion>,
    /// Engines that refused, each once, and why.
    pub refused: Vec<(EngineName, String)>,
    /// Of the plans that do not fit the one that takes the least.
    pub nearest: Option<Box<Suggestion>>,
}

/// The plans that fit, the best first: by method, bits, rank and context in this order, each the more the better, then by speed. No
/// quality is measured here; the order is what most of the weights, bits and parameters that learn.
///
/// Of each method, bits and place the one with the best rank and context, with the engine, micro batch and checkpointing that are the
/// fastest; where no time is known, the largest micro batch without recomputation that fits. With `all`, every rank and context.
///
/// # Errors
/// A model or device that is not known.
pub fn suggest(wish: &Wish, all: bool, base: &Path, environment: &Environment) -> Result<Suggested, Vec<Unresolved>> {
    let mut found = Suggested::default();
    for place in &wish.places {
        for (method, bits) in [
            (Method::Full, Bits::Sixteen),
            (Method::Lora, Bits::Sixteen),
            (Method::Lora, Bits::Eight),
            (Method::Lora, Bits::Four),
        ] {
            if wish.method.is_some_and(|wished| wished != method) {
                continue;
            }
            'class: for rank in ranks(method) {
                for context in contexts(wish) {
                    let search = Search { wish, place, method, bits, rank, context, base, environment };
                    if let Some(best) = search.best(&mut found)? {
                        found.plans.push(best);
                        if !all {
                            break 'class;
                        }
                    }
                }
            }
        }
    }
    found.plans.sort_by(better);
    Ok(found)
}

fn ranks(method: Method) -> Vec<Option<u32>> {
    match method {
        Method::Full => vec![None],
        Method::Lora => RANKS.iter().map(|rank| Some(*rank)).collect(),
    }
}

fn contexts(wish: &Wish) -> Vec<u64> {
    wish.context.map_or_else(|| CONTEXTS.to_vec(), |context| vec![context])
}

/// The better one first.
fn better(a: &Suggestion, b: &Suggestion) -> Ordering {
    (a.method, a.bits)
        .cmp(&(b.method, b.bits))
        .then(b.rank.cmp(&a.rank))
        .then(b.context.cmp(&a.context))
        .then(speed(b).total_cmp(&speed(a)))
}

fn speed(of: &Suggestion) -> f64 {
    of.time.as_ref().map_or(0.0, |time| time.tokens_per_second.value)
}

/// One method, bits, rank and context on one place.
struct Search<'a> {
    wish: &'a Wish,
    place: &'a Place,
    method: Method,
    bits: Bits,
    rank: Option<u32>,
    context: u64,
    base: &'a Path,
    environment: &'a Environment,
}

impl Search<'_> {
    /// The fastest plan that fits.
    fn best(&self, found: &mut Suggested) -> Result<Option<Suggestion>, Vec<Unresolved>> {
        let mut best: Option<Suggestion> = None;
        for &engine in &self.wish.engines {
            // what takes the least: where that does not fit, nothing does
            let least = |optimizer| self.cost(engine, 1, Checkpointing::Block, optimizer);
            match least(OptimizerKind::Adamw8bit).or_else(|_| least(OptimizerKind::Adamw)) {
                Ok(least) => {
                    let least = least?;
                    if !least.roomy {
                        if found
                            .nearest
                            .as_ref()
                            .is_none_or(|nearest| least.estimate.needs() < nearest.estimate.needs())
                        {
                            found.nearest = Some(Box::new(least));
                        }
                        continue;
                    }
                }
                Err(error) => {
                    if found.refused.iter().all(|(known, _)| *known != engine) {
                        found.refused.push((engine, error.to_string()));
                    }
                    continue;
                }
            }
            for optimizer in [OptimizerKind::Adamw, OptimizerKind::Adamw8bit] {
                let mut fits = Vec::new();
                for checkpointing in [Checkpointing::None, Checkpointing::Block] {
                    for &micro_batch in MICRO_BATCHES {
                        if let Ok(one) = self.cost(engine, micro_batch, checkpointing, optimizer) {
                            fits.extend(Some(one?).filter(|one| one.roomy));
                        }
                    }
                }
                // of equals the first stays: no recomputation, the largest micro batch
                let fastest = fits.into_iter().reduce(|a, b| if speed(&b) > speed(&a) { b } else { a });
                if let Some(fastest) = fastest {
                    if best.as_ref().is_none_or(|best| speed(&fastest) > speed(best)) {
                        best = Some(fastest);
                    }
                    break;
                }
            }
        }
        Ok(best)
    }

    fn cost(
        &self,
        engine: EngineName,
        micro_batch: u32,
        checkpointing: Checkpointing,
        optimizer: OptimizerKind,
    ) -> Result<Result<Suggestion, Vec<Unresolved>>, CostError> {
        let plan = self.plan(engine, micro_batch, checkpointing, optimizer);
        let setup = match resolve(&plan, self.base, self.environment) {
            Ok(setup) => setup,
            Err(unresolved) => return Ok(Err(unresolved)),
        };
        let context = setup.data.context;
        if context > setup.model.max_positions {
            let what =
                format!("`{}` has {} positions, fewer than {context}", setup.model.name, setup.model.max_positions);
            return Err(CostError::Unsupported { setting: "data.context", what });
        }
        Ok(Ok(self.suggestion(plan, &setup, estimate(&setup)?)))
    }

    fn suggestion(&self, plan: Plan, setup: &Setup, estimate: Estimate) -> Suggestion {
        Suggestion {
            plan,
            method: self.method,
            bits: self.bits,
            rank: self.rank,
            context: self.context,
            place: self.place.clone(),
            time: time(setup).ok(),
            roomy: estimate.fits && estimate.needs().0 as f64 <= ROOM * setup.device.usable.0 as f64,
            estimate,
        }
    }

    fn plan(
        &self,
        engine: EngineName,
        micro_batch: u32,
        checkpointing: Checkpointing,
        optimizer: OptimizerKind,
    ) -> Plan {
        let kind = match self.bits {
            Bits::Sixteen => None,
            Bits::Eight => Some(QuantizeKind::Int8),
            Bits::Four => Some(QuantizeKind::Nf4),
        };
        let quantize = kind.map(|kind| plan::Quantize {
            kind,
            double: (kind == QuantizeKind::Nf4).then(|| true.into()),
            ..Default::default()
        });
        let adapter = self.rank.map(|rank| plan::Adapter {
            kind: AdapterKind::Lora,
            rank: Some(rank.into()),
            alpha: Some((2.0 * f64::from(rank)).into()),
            targets: Some(Targets::AllLinear.into()),
            ..Default::default()
        });
        let learning_rate = if adapter.is_some() { 2e-4 } else { 2e-5 };
        let precision = match device::find(&self.place.device) {
            Ok(device) if device.kind == DeviceKind::Cpu => Precision::F32,
            Ok(device) if !device.bf16 => Precision::Fp16,
            _ => Precision::Bf16,
        };
        Plan {
            name: self.name(),
            model: Some(self.wish.model.clone().into()),
            device: Some(Name(self.place.device.clone()).into()),
            engine: Some(engine.into()),
            quantize,
            adapter,
            data: Some(plan::Data { context: Some(Tokens(self.context).into()), ..Default::default() }),
            train: Some(plan::Train {
                precision: Some(precision.into()),
                micro_batch: Some(micro_batch.into()),
                accumulate: Some((SAMPLES / micro_batch).into()),
                checkpointing: Some(checkpointing.into()),
                optimizer: Some(optimizer.into()),
                learning_rate: Some(learning_rate.into()),
                schedule: Some(Schedule::Cosine.into()),
                warmup: Some(Warmup::Percent(3.0).into()),
                epochs: Some(1.0.into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    /// `meta-llama-3-8b-lora-4bit-t4`.
    fn name(&self) -> String {
        let model = self.wish.model.rsplit('/').next().unwrap_or_default().to_lowercase();
        let method = match (self.method, self.bits) {
            (Method::Full, _) => "full",
            (Method::Lora, Bits::Sixteen) => "lora",
            (Method::Lora, Bits::Eight) => "lora-8bit",
            (Method::Lora, Bits::Four) => "lora-4bit",
        };
        format!("{model}-{method}-{}", self.place.device)
    }
}
