//! Limits of a budget on time and money. The limit on memory is part of the estimate ([`Estimate::fits`](super::Estimate)).

use super::{Range, Time};
use crate::plan::{Budget, Limit};
use crate::quantity::{Money, Seconds};

/// A limit that a run is expected to break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// The limit's dotted path: `budget.wall_clock`.
    pub setting: &'static str,
    /// It, as written: `<= 6h`.
    pub limit: String,
    /// What is expected: `7.2 h`.
    pub expected: String,
    /// The ends of its interval: `6.1 h`, `8.9 h`.
    pub between: (String, String),
    /// Both ends break it.
    pub certain: bool,
}

/// The limits on time and money that a run is expected to break. The expected figures are compared, not the ends of their intervals.
pub fn exceeded(budget: &Budget, time: &Time) -> Vec<Exceeded> {
    let mut over = Vec::new();
    if let (Some(limit), Some(total)) = (&budget.wall_clock, time.total_seconds)
        && !limit.allows(&Seconds(total.value))
    {
        over.push(Exceeded::new("budget.wall_clock", limit, total, Seconds));
    }
    if let (Some(limit), Some(cost)) = (&budget.cost, &time.cost)
        && !limit.allows(&cents(cost.usd.value))
    {
        over.push(Exceeded::new("budget.cost", limit, cost.usd, cents));
    }
    over
}

impl Exceeded {
    fn new<T: std::fmt::Display + PartialOrd>(
        setting: &'static str,
        limit: &Limit<T>,
        range: Range,
        quantity: impl Fn(f64) -> T,
    ) -> Self {
        let [expected, low, high] = [range.value, range.low, range.high].map(quantity);
        let certain = !limit.allows(&low) && !limit.allows(&high);
        let between = (low.to_string(), high.to_string());
        Self { setting, limit: limit.to_string(), expected: expected.to_string(), between, certain }
    }
}

fn cents(usd: f64) -> Money {
    Money { cents: (usd * 100.0).round() as u64 }
}
