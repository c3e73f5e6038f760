//! What memspec says to a question of the tables.

use memspec::cost::{Interval, Range};
use memspec::device;
use memspec::quantity::Bytes;
use serde::Serialize;

/// A figure, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Answer {
    /// A number with its interval.
    Number {
        /// The estimate.
        computed: f64,
        /// The lower end.
        low: f64,
        /// The upper end.
        high: f64,
        /// `GiB`, `min`, `h` or `%`.
        unit: &'static str,
        /// What it is made of, or how sure it is; may be empty.
        note: String,
    },
    /// A name or a verdict.
    Words {
        /// It.
        computed: String,
        /// What it rests on; may be empty.
        note: String,
    },
    /// The engine or the catalog has no figure.
    NotCosted {
        /// Why.
        why: String,
    },
    /// Nothing that can be cited.
    Unknown {
        /// Why.
        why: String,
    },
}

impl Answer {
    /// Bytes, in GiB.
    pub(super) fn bytes(interval: Interval, note: String) -> Self {
        let gib = |bytes: u64| round(Bytes(bytes).gib());
        Answer::Number {
            computed: gib(interval.bytes),
            low: gib(interval.low),
            high: gib(interval.high),
            unit: "GiB",
            note,
        }
    }

    /// Seconds, in minutes.
    pub(super) fn seconds(range: Range, note: String) -> Self {
        let minutes = |seconds: f64| round(seconds / 60.0);
        let Range { value, low, high } = range;
        Answer::Number { computed: minutes(value), low: minutes(low), high: minutes(high), unit: "min", note }
    }

    /// A number that is known.
    pub(super) fn exactly(value: f64, unit: &'static str, note: String) -> Self {
        let value = round(value);
        Answer::Number { computed: value, low: value, high: value, unit, note }
    }

    /// How far it is from a claim.
    pub(super) fn difference(&self, claimed: Option<f64>, expects: Option<&str>) -> String {
        match (self, claimed, expects) {
            (Answer::Number { computed, unit: "%", .. }, Some(claimed), _) => {
                format!("{:+.0} points", computed - claimed)
            }
            (Answer::Number { computed, .. }, Some(claimed), _) if claimed > 0.0 => {
                format!("{:+.0} %", 100.0 * (computed / claimed - 1.0))
            }
            (Answer::Words { computed, .. }, _, Some(expects)) => against(computed, expects),
            _ => String::new(),
        }
    }
}

/// Two names: the same, or the larger or smaller card.
fn against(computed: &str, expects: &str) -> String {
    let usable = |name: &str| device::get(name).map(|device| device.usable);
    match (usable(computed), usable(expects)) {
        _ if computed == expects => "same".to_owned(),
        (Some(ours), Some(theirs)) if ours > theirs => "larger".to_owned(),
        (Some(ours), Some(theirs)) if ours < theirs => "smaller".to_owned(),
        (Some(_), Some(_)) => "as large".to_owned(),
        _ => "differs".to_owned(),
    }
}

/// Two digits behind the point.
fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
