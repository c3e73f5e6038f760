//! Costs by plan: what was typed elsewhere in a file changes nothing of a plan, so it is not costed again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memspec::model::Environment;
use memspec::plan::Plan;

use crate::cards::Cards;
use crate::context::Costs;
use crate::costed::Costed;

/// Plans that are remembered of each generation. An edited number leaves one with each keystroke.
const MOST: usize = 256;

/// The costs of plans that were seen.
#[derive(Debug, Default)]
pub(super) struct Memo {
    known: Mutex<Generations>,
}

/// What was asked for lately, and what was before that: a plan that nobody asks for while [`MOST`] others are is forgotten with the older ones.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Arc<Known>>,
    old: HashMap<Key, Arc<Known>>,
}

/// A plan, as JSON, and the folder that its paths are relative to.
type Key = (PathBuf, String);

/// What is known of a plan, each once somebody asked.
#[derive(Debug, Default)]
struct Known {
    costs: OnceLock<Costs>,
    /// What rules found out about it is remembered, too.
    ready: AtomicBool,
    cards: OnceLock<Vec<Option<Cards>>>,
}

impl Memo {
    /// A plan's costs. Who asks for what another thread is working on waits for that.
    pub(super) fn costs(&self, plan: &Plan, base: &Path, environment: &Environment) -> Costs {
        self.known(plan, base).costs.get_or_init(|| Costs::of(plan, base, environment)).clone()
    }

    /// Whether everything is known of a plan that rules want to know.
    pub(super) fn is_ready(&self, plan: &Plan, base: &Path) -> bool {
        self.known(plan, base).ready.load(Ordering::Acquire)
    }

    /// Notes that it is.
    pub(super) fn ready(&self, plan: &Plan, base: &Path) {
        self.known(plan, base).ready.store(true, Ordering::Release);
    }

    /// A plan's costs where everything is known of it, else none.
    pub(super) fn ready_costs(&self, plan: &Plan, base: &Path) -> Costs {
        let known = self.known(plan, base);
        let ready = known.ready.load(Ordering::Acquire);
        known.costs.get().filter(|_| ready).cloned().unwrap_or_default()
    }

    /// Of each run of a plan whose device nobody named, the cards that it fits.
    pub(super) fn cards(&self, plan: &Plan, base: &Path, environment: &Environment) -> Vec<Option<Cards>> {
        let costs = self.costs(plan, base, environment);
        let of = |one: &Costed| {
            let estimate = one.estimate().ok()?;
            Some(Cards::of(&one.resolved.plan, &one.resolved.setup, estimate, base, environment))
        };
        self.known(plan, base).cards.get_or_init(|| costs.setups.iter().filter_map(of).collect()).clone()
    }

    fn known(&self, plan: &Plan, base: &Path) -> Arc<Known> {
        let key = (base.to_path_buf(), serde_json::to_string(plan).unwrap_or_default());
        let mut generations = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        if let Some(known) = young.get(&key) {
            return Arc::clone(known);
        }
        if young.len() >= MOST {
            *old = std::mem::take(young);
        }
        let known = old.get(&key).map(Arc::clone).unwrap_or_default();
        young.insert(key, Arc::clone(&known));
        known
    }

    /// Forgets everything: models, data or `memspec.toml` may have changed on disk.
    pub(super) fn forget(&self) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Generations::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_is_asked_for_again_is_not_costed_again() {
        let (memo, environment) = (Memo::default(), Environment::default());
        let text =
            "plan \"p\" { model = \"HuggingFaceTB/SmolLM2-135M-Instruct\"; device = t4; train { micro_batch = 1 } }";
        let plan = memspec::plan::read_text("p.mem", text).plans.remove(0).plan;
        let ask = |plan: &Plan| memo.costs(plan, Path::new(""), &environment).setups;
        let first = ask(&plan);
        assert_eq!(first.len(), 1);
        for seed in 0..3 * MOST as u64 {
            // another plan, as typing makes them; one that names no model takes no time
            ask(&Plan { seed: Some(seed.into()), model: None, ..plan.clone() });
            assert!(Arc::ptr_eq(&first, &ask(&plan)), "forgotten after {seed} others");
        }
        memo.forget();
        assert!(!Arc::ptr_eq(&first, &ask(&plan)));
    }
}
