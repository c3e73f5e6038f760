//! Single changes to a plan, each proven by estimating the changed plan: what it saves, and what it costs.

use std::path::Path;

use crate::cost::{Estimate, estimate, time};
use crate::device::DeviceKind;
use crate::model::Environment;
use crate::plan::{
    self, AdapterKind, Attention, Checkpointing, Choice, EngineName, LossKind, OptimizerKind, Plan, Precision,
    QuantizeKind, Script, Targets,
};
use crate::quantity::{Bytes, Tokens};
use crate::setup::Setup;

use super::{Resolved, setups};

/// What a change costs the user, the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Price {
    /// Memory alone: the same training or more of it, not slower.
    Memory,
    /// The same training, slower.
    Speed,
    /// A little quality.
    Quality,
    /// What is learnt: shorter samples, another method.
    Meaning,
}

impl Price {
    /// In a reader's words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Memory => "memory only",
            Self::Speed => "slower",
            Self::Quality => "a little quality",
            Self::Meaning => "trains something else",
        }
    }
}

/// A change, and what it does.
#[derive(Clone, Debug)]
pub struct Change {
    /// Settings and their new values as a plan writes them: `("train.micro_batch", "2")`. A block with its kind is written
    /// `("quantize", "nf4")`.
    pub settings: Vec<(&'static str, String)>,
    /// For a reader: `micro_batch 4 -> 2`.
    pub title: String,
    /// What it costs the user.
    pub price: Price,
    /// Bytes that it takes off the process's peak; 0 where it adds to it.
    pub saves: Bytes,
    /// Bytes that it adds to the process's peak; 0 where it takes some off.
    pub takes: Bytes,
    /// How much longer a token takes: 0.08 is 8 % slower, less than 0 is faster; `None` where no time is known.
    pub slower: Option<f64>,
    /// The changed plan's estimate.
    pub estimate: Estimate,
}

/// A single change that was not estimated yet.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// As [`Change::settings`].
    pub settings: Vec<(&'static str, String)>,
    /// As [`Change::title`].
    pub title: String,
    /// What it costs the user.
    pub price: Price,
    /// The changed plan.
    pub plan: Plan,
}

/// Single changes to a resolved plan that save memory and keep its engine: those that make it fit first, then the cheapest to the user,
/// then the largest saving.
pub fn changes(resolved: &Resolved, base: &Path, environment: &Environment) -> Vec<Change> {
    let mut all = evaluated(resolved, candidates(resolved), base, environment);
    all.retain(|change| change.saves.0 > 0);
    all.sort_by_key(|change| (!change.estimate.fits, change.price, std::cmp::Reverse(change.saves)));
    all
}

/// Every single change to a resolved plan that its engine runs, those that add memory and those to another engine included: the cheapest
/// to the user first, of the same price the largest saving.
pub fn what_if(resolved: &Resolved, base: &Path, environment: &Environment) -> Vec<Change> {
    if !resolved.setup.trains {
        return Vec::new();
    }
    let candidates = candidates(resolved).into_iter().chain(others(resolved)).collect();
    let mut all = evaluated(resolved, candidates, base, environment);
    let moves = |change: &Change| change.slower.is_some_and(|share| share.abs() > 1e-3);
    all.retain(|change| change.saves.0 > 0 || change.takes.0 > 0 || moves(change));
    all.sort_by_key(|change| (change.price, std::cmp::Reverse(change.saves), change.takes));
    all
}

/// The candidates that can be costed, as changes.
fn evaluated(resolved: &Resolved, candidates: Vec<Candidate>, base: &Path, environment: &Environment) -> Vec<Change> {
    let Ok(before) = estimate(&resolved.setup) else { return Vec::new() };
    let pace = pace(&resolved.setup);
    candidates
        .into_iter()
        .filter_map(|Candidate { title, price, settings, plan }| {
            let changed = setups(&plan, base, environment).ok()?.into_iter().next()?;
            let estimate = estimate(&changed.setup).ok()?;
            let (before, after) = (before.peak.process.bytes, estimate.peak.process.bytes);
            Some(Change {
                settings,
                title,
                price,
                saves: Bytes(before.saturating_sub(after)),
                takes: Bytes(after.saturating_sub(before)),
                slower: pace.zip(self::pace(&changed.setup)).map(|(before, after)| before / after - 1.0),
                estimate,
            })
        })
        .collect()
}

/// Tokens a second, where they are known.
fn pace(setup: &Setup) -> Option<f64> {
    time(setup).ok().map(|time| time.tokens_per_second.value)
}

/// The candidates of a plan, noted one after the other.
struct Candidates<'a> {
    plan: &'a Plan,
    all: Vec<Candidate>,
}

impl Candidates<'_> {
    fn add(&mut self, title: String, price: Price, settings: Vec<(&'static str, String)>, change: impl Fn(&mut Plan)) {
        let mut changed = self.plan.clone();
        change(&mut changed);
        self.all.push(Candidate { settings, title, price, plan: changed });
    }

    /// One setting with a new value.
    fn set(&mut self, path: &'static str, before: &str, value: &str, price: Price) {
        let mut changed = self.plan.clone();
        if changed.set(path, value).is_ok() {
            // Of the two batches this is not the one that is meant by its name alone.
            let leaf = if path == "eval.micro_batch" { path } else { path.rsplit('.').next().unwrap_or(path) };
            let title =
                if before.is_empty() { format!("{leaf} -> {value}") } else { format!("{leaf} {before} -> {value}") };
            self.all.push(Candidate { settings: vec![(path, value.to_owned())], title, price, plan: changed });
        }
    }
}

/// Single changes to a resolved plan that may save memory, and keep its engine; none is estimated. Of a setting with several, the one that saves most
/// is the last.
pub fn candidates(resolved: &Resolved) -> Vec<Candidate> {
    let (setup, plan) = (&resolved.setup, &resolved.plan);
    if !setup.trains {
        // All of them are about training, which the plan does not do.
        return Vec::new();
    }
    let mut all = Candidates { plan, all: Vec::new() };
    batch(&mut all, setup);
    if setup.recomputed_blocks() < setup.model.layers {
        all.add(
            "checkpointing -> block".to_owned(),
            Price::Speed,
            vec![("train.checkpointing", "block".to_owned())],
            |plan| {
                plan.train.get_or_insert_default().checkpointing = Some(Choice::One(Checkpointing::Block));
            },
        );
    } else if !setup.train.activation_offload {
        all.set("train.activation_offload", "", "true", Price::Speed);
    }
    if let Some(eval) = setup.eval.as_ref().filter(|eval| eval.micro_batch > 1) {
        let smaller = setup.train.micro_batch.min(eval.micro_batch / 2).to_string();
        all.set("eval.micro_batch", &eval.micro_batch.to_string(), &smaller, Price::Memory);
    }
    if setup.save.merge {
        all.set("save.merge", "", "false", Price::Memory);
    }
    step(&mut all, setup);
    weights(&mut all, setup);
    learnt(&mut all, setup);
    all.all
}

/// The same samples to a step in smaller micro batches.
fn batch(all: &mut Candidates<'_>, setup: &Setup) {
    let (micro_batch, accumulate) = (setup.train.micro_batch, setup.train.accumulate);
    let samples = accumulate.checked_mul(micro_batch).unwrap_or(0);
    let halved =
        std::iter::successors(Some(micro_batch / 2), |smaller| Some(smaller / 2)).take_while(|smaller| *smaller > 0);
    // Exactly the same samples to a step, or what is trained would be another.
    for smaller in halved.filter(|smaller| samples > 0 && samples.is_multiple_of(*smaller)) {
        other_batch(all, Price::Speed, (micro_batch, accumulate), (smaller, samples / smaller));
    }
}

fn other_batch(
    all: &mut Candidates<'_>,
    price: Price,
    (micro_batch, accumulate): (u32, u32),
    (other, more): (u32, u32),
) {
    all.add(
        format!("micro_batch {micro_batch} -> {other}, accumulate {accumulate} -> {more}"),
        price,
        vec![("train.micro_batch", other.to_string()), ("train.accumulate", more.to_string())],
        |plan| {
            let train = plan.train.get_or_insert_default();
            train.micro_batch = Some(other.into());
            train.accumulate = Some(more.into());
        },
    );
}

/// How a step is computed: the same mathematics, or states in fewer bits.
fn step(all: &mut Candidates<'_>, setup: &Setup) {
    let train = &setup.train;
    if matches!(train.attention, Attention::Eager) {
        all.set("train.attention", "eager", "sdpa", Price::Speed);
    }
    if setup.device.flash2 && matches!(train.attention, Attention::Eager | Attention::Sdpa) {
        all.set("train.attention", train.attention.name(), "flash2", Price::Speed);
    }
    if train.loss == LossKind::Whole {
        if matches!(train.script, Script::Sft | Script::Axolotl) {
            all.set("train.loss", train.loss.name(), LossKind::Chunked.name(), Price::Speed);
        }
        // Only where the model's own loss is taken: TRL's own has no room for it.
        all.set("train.loss", train.loss.name(), LossKind::Liger.name(), Price::Speed);
    }
    if !train.liger {
        all.set("train.liger", "", "true", Price::Speed);
    }
    if !train.expandable_segments {
        all.set("train.expandable_segments", "", "true", Price::Speed);
    }
    if train.optimizer == OptimizerKind::AdamwForeach {
        all.set("train.optimizer", "adamw_foreach", "adamw", Price::Speed);
    }
    if matches!(train.optimizer, OptimizerKind::Adamw | OptimizerKind::AdamwForeach) {
        all.set("train.optimizer", train.optimizer.name(), "paged_adamw", Price::Speed);
        for optimizer in ["adamw_8bit", "paged_adamw_8bit"] {
            all.set("train.optimizer", train.optimizer.name(), optimizer, Price::Quality);
        }
        all.set("train.optimizer", train.optimizer.name(), "adafactor", Price::Meaning);
    }
    let precision = if setup.device.bf16 { Precision::Bf16 } else { Precision::Fp16 };
    if train.precision == Precision::F32 {
        all.set("train.precision", "f32", precision.name(), Price::Quality);
    }
    if train.precision == Precision::Bf16 && setup.adapter.is_none() {
        all.set("train.precision", "bf16", "bf16_pure", Price::Quality);
    }
}

/// How the base weights are stored.
fn weights(all: &mut Candidates<'_>, setup: &Setup) {
    let Some(quantize) = &setup.quantize else {
        for kind in [QuantizeKind::Int8, QuantizeKind::Nf4] {
            if setup.adapter.is_some() {
                all.add(format!("quantize {kind}"), Price::Quality, vec![("quantize", kind.to_string())], |plan| {
                    plan.quantize = Some(plan::Quantize { kind, ..Default::default() });
                });
            }
        }
        return;
    };
    if quantize.kind == QuantizeKind::Int8 {
        all.add("quantize int8 -> nf4".to_owned(), Price::Quality, vec![("quantize", "nf4".to_owned())], |plan| {
            plan.quantize.get_or_insert_default().kind = QuantizeKind::Nf4;
        });
    }
    if quantize.kind == QuantizeKind::Nf4 && !quantize.double {
        all.set("quantize.double", "false", "true", Price::Quality);
    }
}

/// What is trained, and on how much.
fn learnt(all: &mut Candidates<'_>, setup: &Setup) {
    if let Some(adapter) = &setup.adapter {
        let rank = adapter.rank;
        if rank > 8 {
            all.set("adapter.rank", &rank.to_string(), &(rank / 2).to_string(), Price::Quality);
        }
        let targets = |targets: &Targets| setup.model.resolve_targets(targets).map_or(0, |targets| targets.len());
        for (name, fewer) in [("attention", Targets::Attention), ("query_value", Targets::QueryValue)] {
            if (1..adapter.targets.len()).contains(&targets(&fewer)) {
                all.set("adapter.targets", "", name, Price::Meaning);
            }
        }
        if adapter.dropout > 0.0 {
            all.set("adapter.dropout", "", "0%", Price::Quality);
        }
    } else {
        all.add("adapter lora".to_owned(), Price::Meaning, vec![("adapter", "lora".to_owned())], |plan| {
            plan.adapter = Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() });
        });
    }
    let context = setup.data.context;
    if context > 256 {
        let shorter = context / 2;
        all.add(
            format!("context {context} -> {shorter} tokens"),
            Price::Meaning,
            vec![("data.context", format!("{shorter}tok"))],
            |plan| plan.data.get_or_insert_default().context = Some(Choice::One(Tokens(shorter))),
        );
    }
}

/// What spends memory for something else, and other engines.
fn others(resolved: &Resolved) -> Vec<Candidate> {
    let (setup, plan) = (&resolved.setup, &resolved.plan);
    let mut all = Candidates { plan, all: Vec::new() };
    let (micro_batch, accumulate) = (setup.train.micro_batch, setup.train.accumulate);
    if accumulate > 1
        && accumulate.is_multiple_of(2)
        && let Some(larger) = micro_batch.checked_mul(2)
    {
        other_batch(&mut all, Price::Memory, (micro_batch, accumulate), (larger, accumulate / 2));
    }
    if setup.recomputed_blocks() > 0 {
        all.set("train.checkpointing", "", "none", Price::Memory);
        all.set("train.checkpointing", "", "auto", Price::Memory);
    }
    if setup.train.activation_offload {
        all.set("train.activation_offload", "", "false", Price::Memory);
    }
    if let Some(adapter) = &setup.adapter {
        all.set("adapter.rank", &adapter.rank.to_string(), &adapter.rank.saturating_mul(2).to_string(), Price::Memory);
    }
    let context = setup.data.context;
    if context.saturating_mul(2) <= setup.model.max_positions {
        all.set("data.context", &context.to_string(), &format!("{}tok", 2 * context), Price::Meaning);
    }
    // The executor has not been measured on graphics cards, so its figure there is no figure to change for.
    let offered = |engine: EngineName| engine != EngineName::Memspec || setup.device.kind == DeviceKind::Cpu;
    for engine in EngineName::ALL.iter().filter(|engine| **engine != setup.engine && offered(**engine)) {
        all.set("engine", setup.engine.name(), engine.name(), Price::Meaning);
    }
    all.all
}
