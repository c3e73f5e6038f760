//! What a rule sees: the document, and each of its plans resolved and costed, once for all rules.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memspec::cost::{CostError, Estimate, estimate};
use memspec::exchange::foreign::NoteKind;
use memspec::model::Environment;
use memspec::plan::{Document, Plan, Written};
use memspec::setup::{Length, Setup, Unresolved};
use memspec::solve::Resolved;

use crate::costed::{Costed, costed};
use crate::diagnostic::{Finding, Severity};
use crate::fix::{Applicability, Fix, remove_setting};
use crate::registry::Rule;

/// A document and what is known of it.
#[derive(Debug)]
pub struct Context<'a> {
    /// What was read.
    pub document: &'a Document,
    /// The folder that paths are relative to.
    pub base: &'a Path,
    /// Where models are looked up.
    pub environment: &'a Environment,
    /// Its plans.
    pub plans: Vec<Seen<'a>>,
    /// Which plans changes are priced for.
    pub repairs: Repairs,
}

/// Which plans changes are priced for, to be shown as fixes. One takes as many estimates as there are changes to try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repairs {
    /// Every plan.
    #[default]
    All,
    /// The plan at this place among the document's.
    Of(usize),
    /// No plan.
    None,
}

impl Repairs {
    /// Whether changes of that plan are priced.
    pub fn wants(self, plan: usize) -> bool {
        match self {
            Self::All => true,
            Self::Of(one) => one == plan,
            Self::None => false,
        }
    }
}

/// A plan of the document.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Its place among the document's plans.
    pub index: usize,
    /// The plan and where it is written.
    pub written: &'a Written,
    /// Its setups, one for each combination of `sweep` values; empty when it cannot be resolved.
    pub setups: Arc<[Costed]>,
    /// What could not be resolved.
    pub unresolved: Arc<[Unresolved]>,
    /// Its text has mistakes, so that settings may be missing here.
    pub incomplete: bool,
    remembered: Remembered,
}

/// What a plan comes to, wherever it is written.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    /// Its setups, one for each combination of `sweep` values; empty when it cannot be resolved.
    pub setups: Arc<[Costed]>,
    /// What could not be resolved.
    pub unresolved: Arc<[Unresolved]>,
    remembered: Remembered,
}

/// What rules found out about a plan in more estimates, by the rule's code.
#[derive(Clone, Default)]
struct Remembered(Arc<Mutex<HashMap<&'static str, Box<dyn Any + Send>>>>);

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl Costs {
    /// Resolves and costs a plan.
    pub fn of(plan: &Plan, base: &Path, environment: &Environment) -> Self {
        match costed(plan, base, environment) {
            Ok(setups) => Self { setups: setups.into(), ..Self::default() },
            Err(unresolved) => Self { unresolved: unresolved.into(), ..Self::default() },
        }
    }
}

impl<'a> Context<'a> {
    /// How bad it is that a plan cannot be costed: in another trainer's file worth knowing, as that trainer may well run it.
    pub fn of_unchecked(&self, severity: Severity) -> Severity {
        if self.document.foreign.is_some() { severity.min(Severity::Info) } else { severity }
    }

    /// The file leaves this setting open, and it has a value here only because a plan has to say one.
    pub fn assumes(&self, setting: &str) -> bool {
        let notes = self.document.foreign.iter().flat_map(|foreign| &foreign.notes);
        notes.into_iter().any(|note| note.kind == NoteKind::Assumed && note.name == setting)
    }

    /// Resolves and costs every plan of a document.
    pub fn new(document: &'a Document, base: &'a Path, environment: &'a Environment) -> Self {
        Self::with(document, base, environment, |plan| Costs::of(plan, base, environment))
    }

    /// The same with costs from elsewhere: whoever looks at a document again and again keeps them.
    pub fn with(
        document: &'a Document,
        base: &'a Path,
        environment: &'a Environment,
        mut costs: impl FnMut(&Plan) -> Costs,
    ) -> Self {
        // what stands in no plan may be of any
        let inside = |written: &Written, at: usize| {
            written.spans.get("plan").is_some_and(|place| (place.statement.start..=place.statement.end).contains(&at))
        };
        let shared = document
            .problems
            .iter()
            .any(|problem| !document.plans.iter().any(|written| inside(written, problem.span.start)));
        let plans = document
            .plans
            .iter()
            .enumerate()
            .map(|(index, written)| {
                let Costs { setups, unresolved, remembered } = costs(&written.plan);
                let incomplete = shared || document.problems.iter().any(|problem| inside(written, problem.span.start));
                Seen { index, written, setups, unresolved, incomplete, remembered }
            })
            .collect();
        Self { document, base, environment, plans, repairs: Repairs::All }
    }

    /// Whether every plan could be resolved and costed, so that every rule could look at it.
    pub fn is_complete(&self) -> bool {
        let costed = |plan: &Seen<'_>| !plan.setups.is_empty() && plan.setups.iter().all(|one| one.refusal().is_none());
        self.document.problems.is_empty() && self.plans.iter().all(costed)
    }

    /// What a rule finds of each plan, one finding a plan at most. A plan whose text has mistakes is left out, as settings may be
    /// missing from it.
    pub fn each(&self, find: impl FnMut(&Seen<'a>) -> Option<Finding>) -> Vec<Finding> {
        self.plans.iter().filter(|plan| !plan.incomplete).filter_map(find).collect()
    }

    /// The fix that gives a setting of a plan a value, written as `.mem` writes it.
    pub fn set(&self, plan: &Seen<'_>, path: &str, value: &str, applicability: Applicability) -> Option<Fix> {
        Fix::set(self.document, plan.index, path, value, applicability)
    }

    /// The fix that takes a setting or block out of a plan.
    pub fn remove(&self, plan: &Seen<'_>, path: &str, applicability: Applicability) -> Option<Fix> {
        let edits = remove_setting(self.document, plan.index, path)?;
        Some(Fix { title: format!("remove `{path}`"), applicability, edits })
    }

    /// The text of a place.
    pub fn text(&self, span: std::ops::Range<usize>) -> &'a str {
        self.document.source.text.get(span).unwrap_or_default()
    }
}

impl Seen<'_> {
    /// The plan writes this setting or block itself.
    pub fn says(&self, path: &str) -> bool {
        self.written.spans.get(path).is_some()
    }

    /// The estimate of one of its setups as a rule changes it. Whoever looks at the plan again has it from memory, so a rule asks for one alone.
    pub fn anew(&self, rule: &Rule, setup: &Setup) -> Result<Estimate, CostError> {
        self.remember(rule, || estimate(setup))
    }

    /// What a rule finds out about the plan, whatever its text, if that takes more estimates.
    pub fn remember<T: Clone + Send + 'static>(&self, rule: &Rule, find: impl FnOnce() -> T) -> T {
        // A panic while it was held leaves the map whole.
        let known = || self.remembered.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known().get(rule.code).and_then(|found| found.downcast_ref::<T>()) {
            return found.clone();
        }
        let found = find();
        known().insert(rule.code, Box::new(found.clone()));
        found
    }

    /// Its setups.
    pub fn setups(&self) -> impl Iterator<Item = &Setup> {
        self.setups.iter().map(|one| &one.resolved.setup)
    }

    /// The first of its setups that train and are so.
    pub fn find(&self, mut is: impl FnMut(&Setup) -> bool) -> Option<&Setup> {
        self.setups().find(|setup| setup.trains && is(setup))
    }

    /// The fewest optimizer steps of its runs, where they are known.
    pub fn steps(&self) -> Option<u64> {
        let steps = self.setups.iter().filter_map(|one| match one.resolved.setup.train.length {
            Length::Steps(steps) => Some(steps),
            Length::Epochs(_) => one.time.as_ref().ok()?.steps,
        });
        steps.min()
    }

    /// The setups that are costed, each estimated now.
    pub fn estimates(&self) -> impl Iterator<Item = (&Resolved, &Estimate)> {
        self.setups.iter().filter_map(|one| Some((&one.resolved, one.estimate().ok()?)))
    }

    /// The same without those that fit easily, which are not estimated for it.
    pub fn close(&self) -> impl Iterator<Item = (&Resolved, &Estimate)> {
        let close = self.setups.iter().filter(|one| !one.fits_easily());
        close.filter_map(|one| Some((&one.resolved, one.estimate().ok()?)))
    }

    /// The first of its setups that train, are so, and fit; no other is estimated.
    pub fn fitting(&self, mut is: impl FnMut(&Setup) -> bool) -> Option<(&Resolved, &Estimate)> {
        let so = self.setups.iter().filter(|one| one.resolved.setup.trains && is(&one.resolved.setup));
        so.filter(|one| one.fits()).find_map(|one| Some((&one.resolved, one.estimate().ok()?)))
    }

    /// What could not be resolved that falls under a rule of [`Unresolved`].
    pub fn unresolved<'b>(&'b self, rule: &'b str) -> impl Iterator<Item = &'b Unresolved> {
        self.unresolved.iter().filter(move |problem| problem.rule == rule)
    }
}
