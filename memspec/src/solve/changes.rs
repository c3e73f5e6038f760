//! Single changes to a plan that take memory off it, each proven by estimating the changed plan.

use std::path::Path;

use crate::cost::{Estimate, estimate};
use crate::model::Environment;
use crate::plan::{self, AdapterKind, Checkpointing, Choice, Plan, QuantizeKind};
use crate::quantity::{Bytes, Tokens};

use super::{Resolved, setups};

/// What a change costs the user, the cheapest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Price {
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
    /// Bytes that it takes off the process's peak.
    pub saves: Bytes,
    /// The changed plan's estimate.
    pub estimate: Estimate,
}

/// Single changes to a resolved plan that save memory: those that make it fit first, then the cheapest to the user, then the largest saving.
pub fn changes(resolved: &Resolved, base: &Path, environment: &Environment) -> Vec<Change> {
    let Ok(before) = estimate(&resolved.setup) else { return Vec::new() };
    let mut all: Vec<Change> = candidates(resolved)
        .into_iter()
        .filter_map(|(title, price, settings, plan)| {
            let changed = setups(&plan, base, environment).ok()?;
            let estimate = estimate(&changed.first()?.setup).ok()?;
            let saves =
                before.peak.process.bytes.checked_sub(estimate.peak.process.bytes).filter(|&saved| saved > 0)?;
            Some(Change { settings, title, price, saves: Bytes(saves), estimate })
        })
        .collect();
    all.sort_by_key(|change| (!change.estimate.fits, change.price, std::cmp::Reverse(change.saves)));
    all
}

type Candidate = (String, Price, Vec<(&'static str, String)>, Plan);

fn candidates(resolved: &Resolved) -> Vec<Candidate> {
    let (setup, plan) = (&resolved.setup, &resolved.plan);
    let mut all: Vec<Candidate> = Vec::new();
    let mut add = |title: String, price, settings, change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        all.push((title, price, settings, changed));
    };

    let (micro_batch, accumulate) = (setup.train.micro_batch, setup.train.accumulate);
    let samples = accumulate.checked_mul(micro_batch).unwrap_or(0);
    let halved =
        std::iter::successors(Some(micro_batch / 2), |smaller| Some(smaller / 2)).take_while(|smaller| *smaller > 0);
    // Exactly the same samples to a step, or what is trained would be another.
    for smaller in halved.filter(|smaller| samples > 0 && samples.is_multiple_of(*smaller)) {
        let more = samples / smaller;
        add(
            format!("micro_batch {micro_batch} -> {smaller}, accumulate {accumulate} -> {more}"),
            Price::Speed,
            vec![("train.micro_batch", smaller.to_string()), ("train.accumulate", more.to_string())],
            &|plan| {
                let train = plan.train.get_or_insert_default();
                train.micro_batch = Some(smaller.into());
                train.accumulate = Some(more.into());
            },
        );
    }
    if setup.recomputed_blocks() < setup.model.layers {
        add(
            "checkpointing -> block".to_owned(),
            Price::Speed,
            vec![("train.checkpointing", "block".to_owned())],
            &|plan| plan.train.get_or_insert_default().checkpointing = Some(Choice::One(Checkpointing::Block)),
        );
    }
    if setup.adapter.is_some() && setup.quantize.is_none() {
        for (kind, price) in [(QuantizeKind::Int8, Price::Quality), (QuantizeKind::Nf4, Price::Quality)] {
            add(format!("quantize {kind}"), price, vec![("quantize", kind.to_string())], &|plan| {
                plan.quantize = Some(plan::Quantize { kind, ..Default::default() });
            });
        }
    }
    if let Some(adapter) = &setup.adapter {
        let rank = adapter.rank;
        if rank > 8 {
            let smaller = rank / 2;
            add(
                format!("rank {rank} -> {smaller}"),
                Price::Quality,
                vec![("adapter.rank", smaller.to_string())],
                &|plan| {
                    if let Some(adapter) = &mut plan.adapter {
                        adapter.rank = Some(smaller.into());
                    }
                },
            );
        }
    } else {
        add("adapter lora".to_owned(), Price::Meaning, vec![("adapter", "lora".to_owned())], &|plan| {
            plan.adapter = Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() });
        });
    }
    let context = setup.data.context;
    if context > 256 {
        let shorter = context / 2;
        add(
            format!("context {context} -> {shorter} tokens"),
            Price::Meaning,
            vec![("data.context", format!("{shorter}tok"))],
            &|plan| plan.data.get_or_insert_default().context = Some(Choice::One(Tokens(shorter))),
        );
    }
    all
}
