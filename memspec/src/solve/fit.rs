//! `fit`: the first values, in the order of preference, with which a plan meets its budget, and why those before them do not.
//!
//! Values are tried as in a dictionary: the last setting's change first. Where a setting's memory only grows with its value, one quick look at the least
//! values of those that are still open tells whether any of their combinations can fit, so most are never tried.

use std::collections::HashMap;
use std::path::Path;

use super::choices::{Open, combination, combinations, open, taken};
use super::followers::{Follower, followers};
use super::{MOST_CANDIDATES, Resolved, least_recomputed, too_many};
use crate::cost::{CostError, Demand, Estimate, Exceeded, Failed, estimate, exceeded, failed, least_demand, time};
use crate::model::{Environment, Found, find};
use crate::plan::{Checkpointing, Choice, Plan, Unsettled};
use crate::quantity::{Bytes, Quantity};
use crate::setup::{Setup, Unresolved, resolve, resolve_found};

/// Settings whose tensors never shrink when their value grows (`tests/solve.rs`).
const GROWING: &[&str] = &[
    "adapter.rank",
    "data.context",
    "data.images",
    "train.micro_batch",
    "train.accumulate",
    "eval.micro_batch",
    "serve.context",
    "serve.concurrency",
];

/// Values that were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The settings and their values. One that had several and is not here: none of its values helps.
    pub values: Vec<(String, String)>,
    /// Why.
    pub why: Why,
}

/// Why values were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// They take too much memory: what the process needs, the upper end of the estimate.
    Memory(Demand),
    /// They take too much memory with their tensors alone, so that nothing else was estimated: it needs at least this.
    Tensors(Demand),
    /// The run is too long, or too dear.
    Limit(Exceeded),
    /// An assert does not hold.
    Assert(Failed),
    /// The engine does not run them, or what follows from them is no value of its setting.
    Refused(String),
}

impl std::fmt::Display for Why {
    /// `21.3 GiB over 14.5 GiB`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::Memory(Demand { needs, limit }) => write!(f, "{needs} over {limit}"),
            Why::Tensors(Demand { needs, limit }) => write!(f, "at least {needs} over {limit}"),
            Why::Limit(over) => write!(f, "{}, allowed is {}", over.expected, over.limit),
            Why::Assert(failed) => write!(f, "{failed}"),
            Why::Refused(what) => f.write_str(what),
        }
    }
}

/// The plan with a value for each `fit`; the last ones where none meet the budget.
pub(super) fn fit(plan: &Plan, base: &Path, environment: &Environment) -> Result<Resolved, Vec<Unresolved>> {
    let open = open(plan, "fit");
    if combinations(&open) > MOST_CANDIDATES {
        return Err(too_many("fit", &open));
    }
    let model = plan.model.as_ref().and_then(Choice::one);
    let (followers, others) = followers(plan, &open, GROWING);
    // what follows from a setting may shrink as it grows
    let followed = |open: &Open| others.iter().any(|one| one.from.names().contains(&open.setting.as_str()));
    let least = open.iter().map(|open| if followed(open) { None } else { least(open) }).collect();
    let mut search = Search {
        plan,
        base,
        environment,
        // Looked up once, where there is but one.
        found: model.and_then(|model| find(model, base, environment).ok()),
        open,
        least,
        followers,
        hopeless: HashMap::new(),
        rejected: Vec::new(),
    };
    if search.open.is_empty() {
        return search.resolved(&[]).map(recomputed);
    }
    let found = search.below(&mut Vec::new())?;
    let mut resolved = match found {
        Some(resolved) => resolved,
        None => {
            let last: Vec<usize> = search.open.iter().map(|open| open.values.len() - 1).collect();
            recomputed(search.resolved(&last)?)
        }
    };
    resolved.rejected = search.rejected;
    Ok(resolved)
}

struct Search<'a> {
    plan: &'a Plan,
    base: &'a Path,
    environment: &'a Environment,
    found: Option<Found>,
    open: Vec<Open>,
    /// Of each open setting that grows, its least value.
    least: Vec<Option<usize>>,
    /// What follows from one open setting, and takes no less when it grows.
    followers: Vec<Follower>,
    /// What the quick look said of values, those of the followers behind them.
    hopeless: HashMap<Vec<usize>, Option<Demand>>,
    rejected: Vec<Rejected>,
}

impl Search<'_> {
    /// The first combination that begins with these values and meets the budget.
    fn below(&mut self, values: &mut Vec<usize>) -> Result<Option<Resolved>, Vec<Unresolved>> {
        let Some(next) = self.open.get(values.len()) else { return self.tried(values) };
        for value in 0..next.values.len() {
            values.push(value);
            let found = match self.best_below(values)? {
                Some(too_much) => {
                    self.reject(values, Why::Tensors(too_much));
                    None
                }
                None => self.below(values)?,
            };
            values.pop();
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The plan with these values, where it meets the budget.
    fn tried(&mut self, values: &[usize]) -> Result<Option<Resolved>, Vec<Unresolved>> {
        if let Err(Unsettled { message, .. }) = self.chosen(values) {
            self.reject(values, Why::Refused(message));
            return Ok(None);
        }
        let resolved = self.resolved(values)?;
        if let Some(broken) = failed(&resolved.plan, &resolved.setup, None, None).into_iter().next() {
            self.reject(values, Why::Assert(broken));
            return Ok(None);
        }
        let (resolved, estimate) = match estimate(&resolved.setup) {
            Err(CostError::Unsupported { what, .. }) => {
                self.reject(values, Why::Refused(what));
                return Ok(None);
            }
            Ok(estimate) if !estimate.fits => {
                let demand = Demand { needs: estimate.needs(), limit: Bytes(estimate.limit_bytes) };
                self.reject(values, Why::Memory(demand));
                return Ok(None);
            }
            Ok(estimate) => (recomputed(resolved), estimate),
        };
        let time = time(&resolved.setup).ok();
        let over = self.plan.budget.as_ref().zip(time).and_then(|(budget, time)| exceeded(budget, &time).pop());
        if let Some(over) = over {
            self.reject(values, Why::Limit(over));
            return Ok(None);
        }
        if let Some(broken) = self.broken(&resolved, estimate) {
            self.reject(values, Why::Assert(broken));
            return Ok(None);
        }
        Ok(Some(resolved))
    }

    /// The first assert that does not hold. `before`: the estimate with every block recomputed.
    fn broken(&self, resolved: &Resolved, before: Estimate) -> Option<Failed> {
        if self.plan.asserts.is_empty() {
            return None;
        }
        let now = if is_automatic(&resolved.plan) { estimate(&resolved.setup).ok()? } else { before };
        failed(&resolved.plan, &resolved.setup, Some(&now), time(&resolved.setup).ok().as_ref()).into_iter().next()
    }

    /// Where nothing that begins with these values can fit: what it takes at best.
    fn best_below(&mut self, values: &[usize]) -> Result<Option<Demand>, Vec<Unresolved>> {
        let rest = values.len()..self.open.len();
        // Of settings that do not grow every value has to be looked at.
        let free: Vec<usize> = rest.clone().filter(|&one| self.least[one].is_none()).collect();
        let ways: Vec<Open> = free.iter().map(|&one| self.open[one].clone()).collect();
        let mut best: Option<Demand> = None;
        for way in 0..combinations(&ways) {
            let way = combination(&ways, way);
            let mut all = values.to_vec();
            all.extend(rest.clone().map(|one| match free.iter().position(|&other| other == one) {
                Some(place) => way[place],
                None => self.least[one].unwrap_or_default(),
            }));
            // The least value of what follows need not go with the least of what it follows: the two are below any combination.
            let known = |on: usize| on < values.len() || self.least[on].is_none();
            let follow = |one: &Follower| if known(one.on) { all[one.on] } else { one.least };
            let follow: Vec<usize> = self.followers.iter().map(follow).collect();
            let Some(too_much) = self.too_much(all, &follow)? else { return Ok(None) };
            if best.is_none_or(|best| too_much.needs < best.needs) {
                best = Some(too_much);
            }
        }
        Ok(best)
    }

    /// The quick look, once for each combination; `follow`: of each follower, the value of the setting that it follows.
    fn too_much(&mut self, values: Vec<usize>, follow: &[usize]) -> Result<Option<Demand>, Vec<Unresolved>> {
        let key = [values.as_slice(), follow].concat();
        if let Some(&known) = self.hopeless.get(&key) {
            return Ok(known);
        }
        let mut plan = self.with(&values);
        for (one, &value) in self.followers.iter().zip(follow) {
            one.follow(&mut plan, value);
        }
        if plan.settle().is_err() {
            // rejected for that, where it is tried
            return Ok(None);
        }
        let setup = self.setup(&plan)?;
        // What the engine refuses is rejected for that, where it is tried.
        let looked = least_demand(&setup).ok().filter(|demand| demand.is_too_much());
        self.hopeless.insert(key, looked);
        Ok(looked)
    }

    /// The plan with these values.
    fn with(&self, values: &[usize]) -> Plan {
        let mut plan = self.plan.clone();
        for (open, &value) in self.open.iter().zip(values) {
            plan.choose(&open.setting, value);
        }
        plan
    }

    /// The same, and what follows from them.
    fn chosen(&self, values: &[usize]) -> Result<Plan, Unsettled> {
        let mut plan = self.with(values);
        plan.settle()?;
        Ok(plan)
    }

    /// With `checkpointing = auto`, every block is recomputed here.
    fn resolved(&self, values: &[usize]) -> Result<Resolved, Vec<Unresolved>> {
        let plan = self.chosen(values).map_err(|Unsettled { setting, message }| {
            let help = Some("give the settings that it follows from other values".to_owned());
            vec![Unresolved { rule: "wrong-type", setting, message, help, nearest: None }]
        })?;
        let setup = self.setup(&plan)?;
        Ok(Resolved { plan, setup, chosen: taken(&self.open, values), rejected: Vec::new() })
    }

    fn setup(&self, plan: &Plan) -> Result<Setup, Vec<Unresolved>> {
        match &self.found {
            Some(found) => resolve_found(plan, self.base, found.clone(), self.environment),
            None => resolve(plan, self.base, self.environment),
        }
    }

    fn reject(&mut self, values: &[usize], why: Why) {
        self.rejected.push(Rejected { values: taken(&self.open, values), why });
    }
}

/// The place of the least value, where memory grows with it.
fn least(open: &Open) -> Option<usize> {
    if !GROWING.contains(&open.setting.as_str()) {
        return None;
    }
    let value = |text: &String| text.parse::<Quantity>().ok().map(|quantity| quantity.value);
    let values: Vec<f64> = open.values.iter().map(value).collect::<Option<_>>()?;
    values.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).map(|(place, _)| place)
}

fn is_automatic(plan: &Plan) -> bool {
    let checkpointing = plan.train.as_ref().and_then(|train| train.checkpointing.as_ref());
    checkpointing == Some(&Choice::One(Checkpointing::Auto))
}

/// With `checkpointing = auto`: as few blocks recomputed as fit.
fn recomputed(resolved: Resolved) -> Resolved {
    if is_automatic(&resolved.plan) {
        Resolved { setup: least_recomputed(resolved.setup), ..resolved }
    } else {
        resolved
    }
}
