//! # run-over-budget (MEM020)
//!
//! ## What it does
//! Finds plans that are expected to train longer than `budget.wall_clock` allows, or to cost more than `budget.cost`.
//!
//! ## Why is this bad?
//! The run is stopped before it ends, or the bill is a surprise. The expected time is compared, not the ends of its interval,
//! as those lie far apart; `memspec-lint estimate` shows them. Loading, evaluation and saving come on top.
//!
//! ## Example
//! ```mem
//! device = cpu
//! train {
//!   micro_batch = 1
//!   steps = 10_000_000step
//! }
//! budget { wall_clock <= 6h }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = cpu
//! train {
//!   micro_batch = 1
//!   steps = 10step
//! }
//! budget { wall_clock <= 6h }
//! ```

use memspec::cost::{Range, Time};
use memspec::plan::{Budget, Limit};
use memspec::quantity::{Money, Seconds};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in context.plans.iter().filter(|plan| !plan.incomplete) {
        let Some(budget) = &plan.written.plan.budget else { continue };
        let times = plan.setups.iter().filter_map(|one| one.time.as_ref().ok());
        // of a sweep's runs, the longest
        let worst = times.max_by(|a, b| seconds(a).total_cmp(&seconds(b)));
        for over in worst.into_iter().flat_map(|time| exceeded(budget, time)) {
            findings.push(
                Finding::new(rule, format!("plan `{}` is expected to {}", plan.written.plan.name, over.expected))
                    .at(plan.written, over.setting, format!("allows {}", over.limit))
                    .note(format!("between {}", over.between))
                    .help("train fewer steps or samples, take a faster device, or allow more"),
            );
        }
    }
    findings
}

/// What a run does that a limit forbids.
struct Over {
    setting: &'static str,
    limit: String,
    expected: String,
    between: String,
}

fn exceeded(budget: &Budget, time: &Time) -> Vec<Over> {
    let mut over = Vec::new();
    if let (Some(limit), Some(total)) = (&budget.wall_clock, time.total_seconds)
        && !limit.allows(&Seconds(total.value))
    {
        over.push(described("budget.wall_clock", limit, total, "train for", |seconds| Seconds(seconds).to_string()));
    }
    if let (Some(limit), Some(cost)) = (&budget.cost, &time.cost)
        && !limit.allows(&cents(cost.usd.value))
    {
        over.push(described("budget.cost", limit, cost.usd, "cost", |usd| cents(usd).to_string()));
    }
    over
}

fn described<T: std::fmt::Display>(
    setting: &'static str,
    limit: &Limit<T>,
    range: Range,
    verb: &str,
    text: impl Fn(f64) -> String,
) -> Over {
    Over {
        setting,
        limit: limit.to_string(),
        expected: format!("{verb} {}", text(range.value)),
        between: format!("{} and {}", text(range.low), text(range.high)),
    }
}

fn cents(usd: f64) -> Money {
    Money { cents: (usd * 100.0).round() as u64 }
}

fn seconds(time: &Time) -> f64 {
    time.total_seconds.map_or(0.0, |total| total.value)
}
