//! The search for repairs. The allocator is replayed of those changes alone whose tensors leave room for it; all others are known to be too little from
//! their tensors.

use std::collections::HashSet;

use memspec::cost::{Demand, Estimate, estimate, least_demand};
use memspec::plan::Plan;
use memspec::solve::{Candidate, Price, Resolved, candidates, setups};

use super::{Repair, saves};
use crate::context::{Context, Seen};
use crate::fix::{edit_foreign, with_settings};
use crate::rules::memory::thin_headroom::is_thin;

/// Single changes that are taken together at most.
const STEPS: usize = 8;

/// Changes that are tried as the first of several.
const BEGINNINGS: usize = 3;
/// Tensors of this share of the limit are near it.
const NEAR: f64 = 1.25;

/// How much is left when a plan fits; enough goes before thin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Margin {
    Enough,
    Thin,
}

/// One change or several of the run that needed most, and what its tensors take then.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) titles: Vec<String>,
    pub(super) settings: Vec<(&'static str, String)>,
    pub(super) price: Price,
    pub(super) resolved: Resolved,
    pub(super) demand: Demand,
}

impl Step {
    fn may_fit(&self) -> bool {
        !self.demand.is_too_much()
    }
}

/// A plan's single changes, and what is asked about them.
pub(super) struct Search<'a> {
    context: &'a Context<'a>,
    plan: &'a Seen<'a>,
    takes: &'a Estimate,
    start: Step,
    singles: Vec<Step>,
    /// What the single changes after each of them leave, once it was asked for.
    seconds: Vec<Option<Vec<Step>>>,
}

impl<'a> Search<'a> {
    /// A search from the run that needs most, which takes what the estimate says. `None`: there is nothing to search.
    pub(super) fn new(
        context: &'a Context<'a>,
        plan: &'a Seen<'a>,
        worst: &Resolved,
        takes: &'a Estimate,
    ) -> Option<Self> {
        let start = Step {
            titles: Vec::new(),
            settings: Vec::new(),
            price: Price::Memory,
            demand: least_demand(&worst.setup).ok()?,
            resolved: worst.clone(),
        };
        let mut search = Self { context, plan, takes, start, singles: Vec::new(), seconds: Vec::new() };
        search.singles = search.after(&search.start, Price::Meaning);
        search.seconds = vec![None; search.singles.len()];
        Some(search)
    }

    /// The single changes that do not add to the tensors, the cheapest first, of the same price the largest saving.
    pub(super) fn singles(&self) -> &[Step] {
        &self.singles
    }

    /// The single changes of a price that are enough.
    pub(super) fn alone(&self, price: Price) -> Vec<Repair> {
        let of_price = |step: &&Step| step.price.max(Price::Speed) == price;
        self.singles.iter().filter(of_price).filter_map(|step| self.enough(step)).collect()
    }

    /// Several changes no dearer than `price`, one of them as dear: the pair that is just enough, or else the change that saves most, again and again. None
    /// that has a `known` repair among them.
    pub(super) fn together(&mut self, price: Price, known: &[Repair]) -> Option<Repair> {
        if !self.is_hopeful(price) {
            return None;
        }
        let is_new = |settings: &[(&'static str, String)]| {
            !known.iter().any(|repair| repair.settings.iter().all(|setting| settings.contains(setting)))
        };
        self.pair(price, is_new).or_else(|| self.one_after_the_other(price).filter(|repair| is_new(&repair.settings)))
    }

    /// Changes of this price bring the tensors near the limit: the one that saves most, again and again. It is not always the best way, so near is enough.
    fn is_hopeful(&self, price: Price) -> bool {
        let is_near = |step: &Step| step.demand.needs.0 as f64 <= NEAR * step.demand.limit.0 as f64;
        let mut now = self.start.clone();
        for _ in 0..STEPS {
            if is_near(&now) {
                return true;
            }
            let best = self.after(&now, price).into_iter().min_by_key(|next| next.demand.needs);
            match best.filter(|next| next.demand.needs < now.demand.needs) {
                Some(next) => now = next,
                None => return false,
            }
        }
        is_near(&now)
    }

    /// The pair that is just enough.
    fn pair(&mut self, price: Price, is_new: impl Fn(&[(&'static str, String)]) -> bool) -> Option<Repair> {
        let mut pairs: Vec<Step> = Vec::new();
        let mut known = HashSet::new();
        for at in 0..self.singles.len() {
            if self.singles[at].price > price {
                continue;
            }
            let seconds = match self.seconds[at].take() {
                Some(seconds) => seconds,
                None => self.after(&self.singles[at], Price::Meaning).into_iter().filter(Step::may_fit).collect(),
            };
            let as_dear = |pair: &&Step| pair.price.max(Price::Speed) == price && is_new(&pair.settings);
            for pair in seconds.iter().filter(as_dear) {
                // in whichever order
                let mut settings = pair.settings.clone();
                settings.sort();
                if known.insert(settings) {
                    pairs.push(pair.clone());
                }
            }
            self.seconds[at] = Some(seconds);
        }
        // The first that leaves enough is the one that is just enough; none after it need be estimated.
        pairs.sort_by_key(|pair| std::cmp::Reverse(pair.demand.needs));
        let mut thin = None;
        for pair in &pairs {
            match self.enough(pair) {
                Some(repair) if repair.margin == Margin::Enough => return Some(repair),
                Some(repair) => thin = thin.or(Some(repair)),
                None => {}
            }
        }
        thin
    }

    /// The change that saves most of the cheapest, again and again, until the plan fits: from the first of a few beginnings that leads there.
    fn one_after_the_other(&self, price: Price) -> Option<Repair> {
        let sayable = |step: &&Step| step.price <= price && self.changed(&step.settings).is_some();
        let mut beginnings = self.singles.iter().filter(sayable).take(BEGINNINGS);
        // What cheaper changes can do is a repair already.
        beginnings.find_map(|first| self.from(first, price)).filter(|repair| repair.price == price)
    }

    /// The same from one beginning.
    fn from(&self, first: &Step, price: Price) -> Option<Repair> {
        let mut now = first.clone();
        for _ in 1..STEPS {
            let next = self.after(&now, price);
            if let Some(repair) = next.iter().find_map(|step| self.enough(step)) {
                return Some(repair);
            }
            now = next.into_iter().find(|step| self.changed(&step.settings).is_some())?;
        }
        None
    }

    /// A step and one change more, no dearer than `dearest`: the cheapest first, of the same price the largest saving.
    fn after(&self, step: &Step, dearest: Price) -> Vec<Step> {
        let changes = candidates(&step.resolved).into_iter().filter(|change| change.price <= dearest);
        let mut all: Vec<(Price, Step)> =
            changes.filter_map(|change| Some((change.price, self.taken(step, change)?))).collect();
        all.sort_by_key(|(price, next)| (*price, next.demand.needs));
        all.into_iter().map(|(_, next)| next).collect()
    }

    /// A change on top of a step, unless its tensors are more.
    fn taken(&self, step: &Step, change: Candidate) -> Option<Step> {
        let resolved = self.resolve(&change.plan)?;
        let demand = least_demand(&resolved.setup).ok()?;
        // What leaves the tensors as they are may still save what lies between them, or another peak that is nearly as high.
        if demand.needs > step.demand.needs {
            return None;
        }
        let mut next = Step { resolved, demand, price: step.price.max(change.price), ..step.clone() };
        next.titles.push(change.title);
        for (setting, value) in change.settings {
            match next.settings.iter_mut().find(|(known, _)| *known == setting) {
                Some(known) => known.1 = value,
                None => next.settings.push((setting, value)),
            }
        }
        Some(next)
    }

    fn resolve(&self, plan: &Plan) -> Option<Resolved> {
        setups(plan, self.context.base, self.context.environment).ok()?.into_iter().next()
    }

    /// The changes as a repair, if every run of the plan fits then.
    fn enough(&self, step: &Step) -> Option<Repair> {
        if !step.may_fit() {
            return None;
        }
        let changed = self.changed(&step.settings)?;
        let (mut margin, mut peak) = (Margin::Enough, 0);
        for run in setups(&changed, self.context.base, self.context.environment).ok()? {
            let takes = estimate(&run.setup).ok().filter(|takes| takes.fits)?;
            peak = peak.max(takes.peak.process.bytes);
            if is_thin(&run.setup, &takes) {
                margin = Margin::Thin;
            }
        }
        Some(Repair {
            titles: step.titles.clone(),
            settings: step.settings.clone(),
            price: step.price.max(Price::Speed),
            margin,
            saves: saves(self.takes, peak),
        })
    }

    /// The plan with other values of some settings, as its file says it then; none where that cannot.
    pub(super) fn changed(&self, settings: &[(&'static str, String)]) -> Option<Plan> {
        let own = &self.plan.written.plan;
        if self.context.document.foreign.is_none() {
            return with_settings(own, settings);
        }
        let said = edit_foreign(self.context.document, settings)?.plan;
        // which no other trainer's file says
        Some(Plan { device: own.device.clone(), budget: own.budget.clone(), ..said })
    }
}
