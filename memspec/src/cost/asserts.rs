//! The asserts of a plan, compared with what it sets and what is estimated for it.

use super::{Estimate, Time};
use crate::device::DeviceKind;
use crate::plan::{Assertion, Expression, FIGURES, HEADROOM, HEADROOM_PART, Plan, Value, lookup};
use crate::quantity::{Bytes, Dimension, Money, Quantity, Seconds, Tokens};
use crate::setup::Setup;

/// An assert that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its place among the plan's asserts, from 0.
    pub number: usize,
    /// The condition.
    pub that: String,
    /// What the plan says about it.
    pub otherwise: Option<String>,
    /// What the condition names, and the value of each: `device_memory`, `15.2 GiB`.
    pub values: Vec<(String, String)>,
}

impl std::fmt::Display for Failed {
    /// The plan's own words, else the condition; then the values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.otherwise {
            Some(otherwise) => f.write_str(otherwise)?,
            None => write!(f, "not {}", self.that)?,
        }
        for (n, (name, value)) in self.values.iter().enumerate() {
            write!(f, "{}{name} is {value}", if n == 0 { " (" } else { ", " })?;
        }
        f.write_str(if self.values.is_empty() { "" } else { ")" })
    }
}

/// The asserts of a resolved plan that do not hold. One whose figures are not known says nothing.
///
/// Without an estimate or a time, those that need one are left out.
pub fn failed(plan: &Plan, setup: &Setup, estimate: Option<&Estimate>, time: Option<&Time>) -> Vec<Failed> {
    if plan.asserts.is_empty() {
        return Vec::new();
    }
    let settings = serde_json::to_value(plan).unwrap_or_default();
    let value = |name: &str| figure(name, setup, estimate, time).or_else(|| lookup(&settings, name));
    let broken = |(number, assert): (usize, &Assertion)| {
        let holds = assert.that.evaluate(&value);
        // a condition that cannot be computed, 1 / 0 <= 1, does not hold
        (!matches!(holds, Ok(Value::Bool(true) | Value::Computed(_)))).then(|| Failed {
            number,
            that: assert.that.to_string(),
            otherwise: assert.otherwise.clone(),
            values: named(&assert.that, &value),
        })
    };
    plan.asserts.iter().enumerate().filter_map(broken).collect()
}

/// An estimated figure; nothing where it is not known.
fn figure(name: &str, setup: &Setup, estimate: Option<&Estimate>, time: Option<&Time>) -> Option<Value> {
    let (value, dimension) = match name {
        "device_memory" => (estimate?.needs().0 as f64, Dimension::Bytes),
        HEADROOM => (free(setup, estimate?), Dimension::Bytes),
        HEADROOM_PART => (100.0 * free(setup, estimate?) / setup.device.usable.0 as f64, Dimension::Percent),
        // the processor's memory is the host's; beside a GPU, what the host holds is not estimated
        "host_memory" if setup.device.kind == DeviceKind::Cpu => (estimate?.needs().0 as f64, Dimension::Bytes),
        "wall_clock" => (time?.total_seconds?.value, Dimension::Time),
        "cost" => (time?.cost.as_ref()?.usd.value, Dimension::Money),
        "tokens_per_step" => (setup.tokens_per_step() as f64, Dimension::Tokens),
        _ => return None,
    };
    Some(Value::Quantity(Quantity { value, dimension }))
}

fn free(setup: &Setup, estimate: &Estimate) -> f64 {
    setup.device.usable.0 as f64 - estimate.needs().0 as f64
}

fn named(that: &Expression, value: &impl Fn(&str) -> Option<Value>) -> Vec<(String, String)> {
    let mut names: Vec<&str> = Vec::new();
    for name in that.names() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let shown = |name: &str| match name {
        HEADROOM if that.has_headroom_part() => match value(HEADROOM_PART)? {
            Value::Quantity(Quantity { value: part, .. }) => {
                Some(format!("{}, {part:.1}% of what is usable", shown(name, &value(name)?)))
            }
            _ => None,
        },
        name => Some(shown(name, &value(name)?)),
    };
    names.into_iter().filter_map(|name| Some((name.to_owned(), shown(name)?))).collect()
}

fn shown(name: &str, value: &Value) -> String {
    let figure = FIGURES.iter().any(|figure| figure.name == name);
    match value {
        Value::Quantity(Quantity { value, dimension }) if figure => match dimension {
            Dimension::Bytes if *value < 0.0 => format!("-{}", Bytes(-*value as u64)),
            Dimension::Bytes => Bytes(*value as u64).to_string(),
            Dimension::Time => Seconds(*value).to_string(),
            Dimension::Money => Money { cents: (*value * 100.0).round() as u64 }.to_string(),
            _ => Tokens(*value as u64).to_string(),
        },
        Value::Quantity(quantity) => Expression::Quantity(*quantity).to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Word(word) | Value::Symbol(word) | Value::Text(word) => word.clone(),
        _ => String::new(),
    }
}
