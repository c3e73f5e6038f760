//! What a plan comes to: its setups, each costed as far as a rule asks.
//!
//! Whether a setup fits is known from its tensors alone where they take no more than half of what there is, or more than all of it. Only between the two,
//! or where somebody wants to see the figure, is the allocator replayed.

use std::path::Path;
use std::sync::OnceLock;

use memspec::cost::{CostError, Demand, Estimate, Failed, Time, estimate, exceeded, failed, least_demand, time};
use memspec::model::Environment;
use memspec::plan::Plan;
use memspec::setup::{Setup, Unresolved};
use memspec::solve::{Resolved, setups};

/// A setup and what it takes.
#[derive(Debug)]
pub struct Costed {
    /// The setup, and what was chosen for it.
    pub resolved: Resolved,
    /// How long it trains, or why that is not known.
    pub time: Result<Time, CostError>,
    takes: Takes,
}

/// The setups of a plan, one for each combination of `sweep` values.
///
/// # Errors
/// What cannot be resolved.
pub fn costed(plan: &Plan, base: &Path, environment: &Environment) -> Result<Vec<Costed>, Vec<Unresolved>> {
    let cost = |resolved: Resolved| {
        let (takes, time) = (Takes::of(&resolved.setup), time(&resolved.setup));
        Costed { resolved, time, takes }
    };
    Ok(setups(plan, base, environment)?.into_iter().map(cost).collect())
}

impl Costed {
    /// Why its engine does not cost it.
    pub fn refusal(&self) -> Option<&CostError> {
        self.takes.least.as_ref().err()
    }

    /// Its estimate, made when it is first asked for, or why there is none.
    ///
    /// # Errors
    /// A setup that its engine does not cost.
    pub fn estimate(&self) -> Result<&Estimate, &CostError> {
        self.takes.estimate(&self.resolved.setup)
    }

    /// It fits, with as much again to spare.
    pub fn fits_easily(&self) -> bool {
        self.takes.fits_easily()
    }

    /// It fits.
    pub fn fits(&self) -> bool {
        self.takes.fits(&self.resolved.setup)
    }

    /// The asserts that do not hold.
    pub fn failed(&self) -> Vec<Failed> {
        let Resolved { plan, setup, .. } = &self.resolved;
        if plan.asserts.is_empty() {
            return Vec::new();
        }
        failed(plan, setup, self.estimate().ok(), self.time.as_ref().ok())
    }

    /// It fits, is not expected to break a limit on time or money, and every assert of it holds.
    pub fn meets_budget(&self) -> bool {
        let budget = self.resolved.plan.budget.as_ref();
        let over = budget.zip(self.time.as_ref().ok()).map(|(budget, time)| exceeded(budget, time));
        self.fits() && over.unwrap_or_default().is_empty() && self.failed().is_empty()
    }
}

/// What a setup takes, found out as far as somebody asks.
#[derive(Debug)]
pub(crate) struct Takes {
    /// With its tensors alone.
    least: Result<Demand, CostError>,
    whole: OnceLock<Result<Estimate, CostError>>,
}

impl Takes {
    pub(crate) fn of(setup: &Setup) -> Self {
        Self { least: least_demand(setup), whole: OnceLock::new() }
    }

    /// Tensors of no more than half of what there is. No run was measured whose allocator held twice its tensors, and one that is out of room gives its
    /// cache back first.
    pub(crate) fn fits_easily(&self) -> bool {
        self.least.as_ref().is_ok_and(|least| least.needs.0 <= least.limit.0 / 2)
    }

    pub(crate) fn fits(&self, setup: &Setup) -> bool {
        let is_too_much = self.least.as_ref().is_ok_and(|least| least.is_too_much());
        self.fits_easily() || !is_too_much && self.estimate(setup).is_ok_and(|estimate| estimate.fits)
    }

    pub(crate) fn estimate(&self, setup: &Setup) -> Result<&Estimate, &CostError> {
        match &self.least {
            Ok(_) => self.whole.get_or_init(|| estimate(setup)).as_ref(),
            Err(error) => Err(error),
        }
    }
}
