//! Costs by plan: what was typed elsewhere in a file changes nothing of a plan, so it is not costed again.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use memspec::model::Environment;
use memspec::plan::Plan;

use crate::cards::Cards;
use crate::context::{Costed, Costs};

/// Plans that are remembered; beyond that all are forgotten. An edited number leaves one with each keystroke.
const MOST: usize = 512;

/// The costs of plans that were seen.
#[derive(Debug, Default)]
pub(super) struct Memo {
    known: Mutex<HashMap<Key, Arc<Known>>>,
}

/// What is known of a plan, each once somebody asked.
#[derive(Debug, Default)]
struct Known {
    costs: OnceLock<Costs>,
    cards: OnceLock<Vec<Option<Cards>>>,
}

/// A plan, as JSON, and the folder that its paths are relative to.
type Key = (PathBuf, String);

impl Memo {
    /// A plan's costs. Who asks for what another thread is working on waits for that.
    pub(super) fn costs(&self, plan: &Plan, base: &Path, environment: &Environment) -> Costs {
        self.known(plan, base).costs.get_or_init(|| Costs::of(plan, base, environment)).clone()
    }

    /// Of each run of a plan whose device nobody named, the cards that it fits.
    pub(super) fn cards(&self, plan: &Plan, base: &Path, environment: &Environment) -> Vec<Option<Cards>> {
        let costs = self.costs(plan, base, environment);
        let of = |one: &Costed| {
            let estimate = one.estimate.as_ref().ok()?;
            Some(Cards::of(&one.resolved.plan, &one.resolved.setup, estimate, base, environment))
        };
        self.known(plan, base).cards.get_or_init(|| costs.setups.iter().filter_map(of).collect()).clone()
    }

    fn known(&self, plan: &Plan, base: &Path) -> Arc<Known> {
        let key = (base.to_path_buf(), serde_json::to_string(plan).unwrap_or_default());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        Arc::clone(known.entry(key).or_default())
    }

    /// Forgets everything: models, data or `memspec.toml` may have changed on disk.
    pub(super) fn forget(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
