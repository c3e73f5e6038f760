//! Choosing: a plan's `fit` and `sweep` values, `checkpointing = auto`, the changes that would make a plan fit, the largest context or
//! micro batch that fits, and plans for a model and a device.

mod changes;
mod choices;
mod fit;
mod followers;
mod largest;
mod suggest;

use std::path::Path;

use crate::cost::{Estimate, estimate};
use crate::model::Environment;
use crate::plan::{Checkpointing, Choice, Plan};
use crate::setup::{Setup, Unresolved};
use choices::{Open, combination, combinations, open, taken};

pub use changes::{Candidate, Change, Price, candidates, changes, what_if};
pub use fit::{Rejected, Why};
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
    /// The values that were preferred to the chosen ones and did not meet the budget, in the order in which they were tried.
    pub rejected: Vec<Rejected>,
}

impl Resolved {
    /// The plan under its run's name, with `checkpointing = auto` written out, too: nothing is left to choose.
    pub fn explicit(&self) -> Plan {
        let mut plan = Plan { name: self.setup.name.clone(), ..self.plan.clone() };
        let blocks = self.setup.recomputed_blocks();
        if let Some(checkpointing) = plan.train.as_mut().and_then(|train| train.checkpointing.as_mut())
            && *checkpointing == Choice::One(Checkpointing::Auto)
        {
            *checkpointing = Choice::One(match blocks {
                0 => Checkpointing::None,
                all if all == self.setup.model.layers => Checkpointing::Block,
                some => Checkpointing::Blocks(u32::try_from(some).unwrap_or(u32::MAX)),
            });
        }
        plan
    }
}

/// The setups of a plan: one for each value of each `sweep`, and in each the first values of each `fit`, in the order of preference,
/// with which it meets its budget; the last ones when none do.
///
/// Of several `fit`s, the one that comes last in `docs/settings.md` gives way first: rank and context are kept for longer than the micro batch.
///
/// # Errors
/// Settings that cannot be resolved, or more combinations than [`MOST_CANDIDATES`].
pub fn setups(plan: &Plan, base: &Path, environment: &Environment) -> Result<Vec<Resolved>, Vec<Unresolved>> {
    let sweeps = open(plan, "sweep");
    let runs = combinations(&sweeps);
    if runs > MOST_CANDIDATES {
        return Err(too_many("sweep", &sweeps));
    }
    (0..runs)
        .map(|run| {
            let values = combination(&sweeps, run);
            let mut one = plan.clone();
            for (open, &value) in sweeps.iter().zip(&values) {
                one.choose(&open.setting, value);
            }
            let mut resolved = fit::fit(&one, base, environment)?;
            let swept = taken(&sweeps, &values);
            if runs > 1 {
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

fn too_many(word: &str, open: &[Open]) -> Vec<Unresolved> {
    let most = open.iter().max_by_key(|open| open.values.len());
    vec![Unresolved {
        rule: "unsupported-setting",
        setting: most.map(|open| open.setting.clone()).unwrap_or_default(),
        message: format!("the `{word}` values of this plan make more than {MOST_CANDIDATES} combinations"),
        help: Some("give fewer values".to_owned()),
        nearest: None,
    }]
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
