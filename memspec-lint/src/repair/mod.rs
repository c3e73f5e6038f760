//! Which changes make a plan fit, as fixes, the one to take first.

mod search;

use std::cmp::Reverse;

use memspec::cost::{Estimate, estimate};
use memspec::quantity::Bytes;
use memspec::solve::{Price, Resolved};

use crate::context::{Context, Seen};
use crate::diagnostic::Finding;
use crate::fix::{Applicability, Fix, edit_settings};
use search::{Margin, Search, Step};

/// Changes that are shown as suggestions.
const SUGGESTIONS: usize = 3;

/// A change of one or more settings of a plan, with which every run of it fits.
struct Repair {
    titles: Vec<String>,
    settings: Vec<(&'static str, String)>,
    price: Price,
    margin: Margin,
    saves: Bytes,
}

/// A plan that does not fit was found: [`fixes`] are what it wants.
pub fn wants_fixes(finding: &Finding) -> bool {
    matches!(finding.code, Some("MEM001" | "MEM023"))
}

/// The finding has [`suggestions`]: of a plan that fits with little to spare.
pub fn wants_suggestions(finding: &Finding) -> bool {
    finding.code == Some("MEM002")
}

/// The fixes of a plan that does not fit: those that keep the training the same before those that do not, each proven by
/// estimating the changed plan with all of its sweeps; where no single change is enough, several together. Of those that
/// change the same settings it is the smallest that is enough. When nothing fits, the single changes that save most, as
/// suggestions.
///
/// None where the context does not want them priced.
pub fn fixes(context: &Context<'_>, plan: &Seen<'_>, worst: &Resolved, takes: &Estimate) -> Vec<Fix> {
    if !context.repairs.wants(plan.index) {
        return Vec::new();
    }
    let Some(mut search) = Search::new(context, plan, worst, takes) else { return Vec::new() };
    let mut repairs: Vec<Repair> = Vec::new();
    for price in [Price::Speed, Price::Quality, Price::Meaning] {
        let mut enough = search.alone(price);
        enough.sort_by_key(|repair| (repair.margin, repair.saves));
        if enough.is_empty() {
            repairs.extend(search.together(price, &repairs));
        }
        for repair in enough {
            let names = |repair: &Repair| repair.settings.iter().map(|(setting, _)| *setting).collect::<Vec<_>>();
            if repairs.iter().all(|known| names(known) != names(&repair)) {
                repairs.push(repair);
            }
        }
    }
    let mut fixes: Vec<Fix> = repairs.iter().filter_map(|repair| as_fix(context, plan, repair)).collect();
    if fixes.is_empty() {
        fixes = shown(context, plan, &search, takes, |_, saves| Reverse(saves));
    }
    fixes
}

/// The single changes of a plan that fits, the best first, as suggestions; none where the context does not want them priced.
pub fn suggestions(context: &Context<'_>, plan: &Seen<'_>, resolved: &Resolved, takes: &Estimate) -> Vec<Fix> {
    if !context.repairs.wants(plan.index) {
        return Vec::new();
    }
    let Some(search) = Search::new(context, plan, resolved, takes) else { return Vec::new() };
    shown(context, plan, &search, takes, |step, saves| (step.price, Reverse(saves)))
}

/// The first of the single changes in some order as suggestions: what each saves, and whether that is enough.
fn shown<'s, K: Ord>(
    context: &Context<'_>,
    plan: &Seen<'_>,
    search: &'s Search<'_>,
    takes: &Estimate,
    order: impl Fn(&Step, Bytes) -> K,
) -> Vec<Fix> {
    let estimated = |step: &'s Step| {
        let after = estimate(&step.resolved.setup).ok()?;
        let saves = saves(takes, after.peak.process.bytes);
        (saves.0 > 0).then_some((step, saves, after.fits))
    };
    let mut all: Vec<(&Step, Bytes, bool)> = search.singles().iter().filter_map(estimated).collect();
    all.sort_by_key(|(step, saves, _)| order(step, *saves));
    let fix = |(step, saves, fits): (&Step, Bytes, bool)| {
        // what the file's own trainer has no key for is no advice
        search.changed(&step.settings)?;
        let enough = if fits { "fits" } else { "not enough alone" };
        let edits = edit_settings(context.document, plan.index, &step.settings).unwrap_or_default();
        Some(Fix::suggestion(format!("{}: saves {saves}, {enough}", step.titles.join(", then ")), edits))
    };
    all.into_iter().filter_map(fix).take(SUGGESTIONS).collect()
}

/// What a changed plan takes less than the run that needed most.
fn saves(before: &Estimate, after: u64) -> Bytes {
    Bytes(before.peak.process.bytes.saturating_sub(after))
}

fn as_fix(context: &Context<'_>, plan: &Seen<'_>, repair: &Repair) -> Option<Fix> {
    let edits = edit_settings(context.document, plan.index, &repair.settings)?;
    // Of a sweep, nobody asked for fewer runs.
    let swept = repair.settings.iter().any(|(setting, _)| {
        plan.setups.first().is_some_and(|one| one.resolved.chosen.iter().any(|(chosen, _)| chosen == setting))
            && plan.setups.len() > 1
    });
    let price = match repair.price {
        Price::Speed => String::new(),
        price => format!(" ({})", price.words()),
    };
    Some(Fix {
        title: format!("{}: saves {}, fits{price}", repair.titles.join(", then "), repair.saves),
        applicability: if repair.price == Price::Speed && !swept { Applicability::Safe } else { Applicability::Unsafe },
        edits,
    })
}
