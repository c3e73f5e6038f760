//! Which well-known cards a plan fits, where nothing says on which it will run: "13.2 GiB: fits RTX 3090, 4090, L4; not T4".

use std::fmt;
use std::path::Path;

use memspec::cost::Estimate;
use memspec::device;
use memspec::model::Environment;
use memspec::plan::Plan;
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use memspec::solve::setups;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use crate::costed::Takes;

/// Cards that people have or rent, the smaller before the larger.
const KNOWN: &[&str] =
    &["rtx3060", "t4", "rtx3090", "rtx4090", "l4", "rtx5090", "l40s", "a100-40", "a100-80", "h100-80", "h200", "b200"];
/// Cards of each kind that are named in a sentence.
const NAMED: usize = 4;

/// A plan's peak, and the well-known cards that it fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Cards {
    /// What the process takes on a card that computes in bf16, in bytes.
    pub peak_bytes: u64,
    /// Names of cards that it fits, the smallest first.
    pub fits: Vec<&'static str>,
    /// Names of cards that it does not fit, the smallest first.
    pub too_small: Vec<&'static str>,
}

impl Cards {
    /// The cards of a run whose card nobody named; `None` for one that has a device.
    pub fn of(plan: &Plan, setup: &Setup, peak: &Estimate, base: &Path, environment: &Environment) -> Option<Self> {
        if !setup.device.is_any() {
            return None;
        }
        let fits: Vec<bool> = KNOWN.par_iter().map(|name| fits(plan, name, base, environment)).collect();
        let with = |wanted| KNOWN.iter().zip(&fits).filter(move |(_, fits)| **fits == wanted).map(|(name, _)| *name);
        Some(Self { peak_bytes: peak.peak.process.bytes, fits: with(true).collect(), too_small: with(false).collect() })
    }
}

/// Every run of the plan fits the card.
fn fits(plan: &Plan, card: &str, base: &Path, environment: &Environment) -> bool {
    let plan = Plan { device: Some(card.into()), ..plan.clone() };
    let fits = |setup: &Setup| Takes::of(setup).fits(setup);
    setups(&plan, base, environment).is_ok_and(|runs| runs.iter().all(|run| fits(&run.setup)))
}

impl fmt::Display for Cards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", Bytes(self.peak_bytes))?;
        let nearest = &self.too_small[self.too_small.len().saturating_sub(NAMED)..];
        match (self.fits.as_slice(), nearest) {
            ([], _) => write!(f, "fits none of {}", titles(nearest)),
            (fits, []) => write!(f, "fits {} and larger", titles(&fits[..1])),
            (fits, nearest) => write!(f, "fits {}; not {}", titles(&fits[..fits.len().min(NAMED)]), titles(nearest)),
        }
    }
}

/// `RTX 3090, 4090, L4`.
fn titles(names: &[&str]) -> String {
    let mut text = String::new();
    let mut family = "";
    for name in names {
        let title = title(name);
        let short = match title.strip_prefix("RTX ") {
            Some(number) if family == "RTX" => number.to_owned(),
            _ => title.clone(),
        };
        family = if title.starts_with("RTX ") { "RTX" } else { "" };
        text += if text.is_empty() { "" } else { ", " };
        text += &short;
    }
    text
}

/// What people call a card: `RTX 4090`, `A100 80GB`.
fn title(name: &str) -> String {
    let Some(device) = device::get(name) else { return name.to_owned() };
    let of_sizes = name.contains('-');
    let words =
        device.title.split(' ').filter(|word| !["GeForce", "Tesla", "SXM", "(sold", "as", "192)"].contains(word));
    words.filter(|word| of_sizes || !word.ends_with("GB")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(gib: f64, fitting: usize, expected: &str) {
        let (too_small, fits) = KNOWN.split_at(KNOWN.len() - fitting);
        let peak_bytes = (gib * (1u64 << 30) as f64) as u64;
        let cards = Cards { peak_bytes, fits: fits.to_vec(), too_small: too_small.to_vec() };
        assert_eq!(cards.to_string(), expected);
    }

    #[test]
    fn the_nearest_cards_are_named_as_people_call_them() {
        check(13.2, 10, "13.2 GiB: fits RTX 3090, 4090, L4, RTX 5090; not RTX 3060, T4");
        check(60.0, 4, "60.0 GiB: fits A100 80GB, H100 80GB, H200, B200; not L4, RTX 5090, L40S, A100 40GB");
        check(2.0, 12, "2.0 GiB: fits RTX 3060 and larger");
        check(300.0, 0, "300.0 GiB: fits none of A100 80GB, H100 80GB, H200, B200");
    }
}
