//! Choosing: a plan's `fit` and `sweep` values, `checkpointing = auto`, the changes that would make a plan fit, the largest context or
//! micro batch that fits, and plans for a model and a device.

mod changes;
mod largest;
mod suggest;

use std::path::Path;

use serde_json::Value;

use crate::cost::{Estimate, estimate};
use crate::model::Environment;
use crate::plan::{Checkpointing, Choice, Plan};
use crate::setup::{Setup, Unresolved, resolve};

pub use changes::{Change, Price, changes, what_if};
pub use largest::{Growing, Largest, largest, with};
pub use suggest::{Bits, Method, Place, ROOM, Suggested, Suggestion, Wish, suggest};

/// Combinations of `fit` and `sweep` values that are tried at most.
pub const MOST_CANDIDATES: usize = 10_000;

/// A setup, and the values that were chosen for it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The plan with one value for each setting.
    pub plan: Plan,
    /// The setup.
    pub setup: Setup,
    /// Each setting that had a choice, by its dotted path, with the value taken, as JSON writes it.
    pub chosen: Vec<(String, String)>,
}

/// The setups of a plan: one for each value of each `sweep`, and in each the first values of each `fit`, in the order of preference,
/// with which it fits; the last ones when none do.
///
/// # Errors
/// Settings that cannot be resolved, or more combinations than [`MOST_CANDIDATES`].
pub fn setups(plan: &Plan, base: &Path, environment: &Environment) -> Result<Vec<Resolved>, Vec<Unresolved>> {
    let value = serde_json::to_value(plan).unwrap_or_default();
    let sweeps = combinations(&value, "sweep")?;
    let name_runs = sweeps.len() > 1;
    sweeps
        .into_iter()
        .map(|(value, swept)| {
            let mut resolved = fitted(&value, base, environment)?;
            if name_runs {
                let values: Vec<_> =
                    swept.iter().map(|(setting, value)| format!("{}={value}", leaf(setting))).collect();
                resolved.setup.name = format!("{} {}", plan.name, values.join(" "));
            }
            resolved.chosen.splice(0..0, swept);
            Ok(resolved)
        })
        .collect()
}

fn leaf(setting: &str) -> &str {
    setting.rsplit('.').next().unwrap_or(setting)
}

fn fitted(value: &Value, base: &Path, environment: &Environment) -> Result<Resolved, Vec<Unresolved>> {
    let mut last = None;
    for (value, chosen) in combinations(value, "fit")? {
        let plan: Plan = serde_json::from_value(value).map_err(|error| {
            vec![Unresolved {
                rule: "unsupported-setting",
                setting: "plan".to_owned(),
                message: format!("the plan could not be resolved: {error}"),
                help: None,
                nearest: None,
            }]
        })?;
        let mut setup = resolve(&plan, base, environment)?;
        let automatic = plan.train.as_ref().and_then(|train| train.checkpointing.as_ref());
        if automatic == Some(&Choice::One(Checkpointing::Auto)) {
            setup = least_recomputed(setup);
        }
        let fits = estimate(&setup).is_ok_and(|estimate| estimate.fits);
        last = Some(Resolved { plan, setup, chosen });
        if fits {
            break;
        }
    }
    last.ok_or_else(|| {
        vec![Unresolved {
            rule: "missing-setting",
            setting: "plan".to_owned(),
            message: "a `fit` without values chooses nothing".to_owned(),
            help: Some("give it at least one value: `fit [4, 2, 1]`".to_owned()),
            nearest: None,
        }]
    })
}

/// `checkpointing = auto`: the fewest recomputed blocks with which the setup fits; all when none do. Memory falls with each block.
pub fn least_recomputed(setup: Setup) -> Setup {
    let with = |blocks| {
        let mut setup = setup.clone();
        setup.train.recomputed_blocks = blocks;
        setup
    };
    let fits = |blocks| estimate(&with(blocks)).is_ok_and(|estimate: Estimate| estimate.fits);
    let (mut low, mut high) = (0, setup.model.layers);
    while low < high {
        let middle = (low + high) / 2;
        if fits(middle) { high = middle } else { low = middle + 1 }
    }
    with(high)
}

type Combination = (Value, Vec<(String, String)>);

/// The plan with each combination of the values that stand under `word` (`fit` or `sweep`), the first setting's values changing last.
fn combinations(plan: &Value, word: &str) -> Result<Vec<Combination>, Vec<Unresolved>> {
    let mut settings = Vec::new();
    find(plan, word, "", &mut settings);
    let mut all: Vec<Combination> = vec![(plan.clone(), Vec::new())];
    for (setting, values) in settings {
        if all.len() * values.len() > MOST_CANDIDATES {
            return Err(vec![Unresolved {
                rule: "unsupported-setting",
                setting,
                message: format!("the `{word}` values of this plan make more than {MOST_CANDIDATES} combinations"),
                help: Some("give fewer values".to_owned()),
                nearest: None,
            }]);
        }
        all = all
            .into_iter()
            .flat_map(|(plan, chosen)| {
                let setting = &setting;
                values.iter().map(move |value| {
                    let (mut plan, mut chosen) = (plan.clone(), chosen.clone());
                    if let Some(place) = plan.pointer_mut(&format!("/{}", setting.replace('.', "/"))) {
                        *place = value.clone();
                    }
                    chosen.push((setting.clone(), text(value)));
                    (plan, chosen)
                })
            })
            .collect();
    }
    Ok(all)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Dotted paths and values of every `{word: [..]}`.
fn find(value: &Value, word: &str, path: &str, into: &mut Vec<(String, Vec<Value>)>) {
    let Value::Object(map) = value else { return };
    if let (1, Some(Value::Array(values))) = (map.len(), map.get(word)) {
        into.push((path.to_owned(), values.clone()));
        return;
    }
    for (key, value) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        find(value, word, &path, into);
    }
}
