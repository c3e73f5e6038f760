//! Which changes make a plan fit, as fixes, the one to take first.

use memspec::cost::estimate;
use memspec::plan::Plan;
use memspec::quantity::Bytes;
use memspec::solve::{Change, Price, Resolved, changes, changes_up_to, fitting, setups};

use crate::context::{Context, Seen, costed};
use crate::fix::{Applicability, Fix, edit_foreign, edit_settings, with_settings};
use crate::rules::memory::thin_headroom::is_thin;

/// Single changes that are taken together at most.
const STEPS: usize = 8;
/// Changes that are shown as suggestions.
const SUGGESTIONS: usize = 3;

/// A change of one or more settings of a plan.
struct Repair {
    titles: Vec<String>,
    settings: Vec<(&'static str, String)>,
    price: Price,
    saves: Bytes,
    plan: Plan,
}

/// How much is left when a plan fits; enough goes before thin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Margin {
    Enough,
    Thin,
}

/// The fixes of a plan that does not fit: those that keep the training the same before those that do not, each proven by
/// estimating the changed plan with all of its sweeps; where no single change is enough, several together. Of those that
/// change the same settings it is the smallest that is enough. When nothing fits, the single changes that save most, as
/// suggestions.
///
/// None where the context does not want them priced.
pub fn fixes(context: &Context<'_>, plan: &Seen<'_>, worst: &Resolved) -> Vec<Fix> {
    if !context.repairs.wants(plan.index) {
        return Vec::new();
    }
    let singles = changes(worst, context.base, context.environment);
    let mut repairs: Vec<Repair> = Vec::new();
    let mut after = After::default();
    for price in [Price::Speed, Price::Quality, Price::Meaning] {
        let of_price = singles.iter().filter(|change| change.price == price);
        let mut enough: Vec<(Margin, Repair)> = of_price
            .filter_map(|change| {
                let changed = changed(context, plan, &change.settings)?;
                let left = left(context, &changed)?;
                let repair = Repair {
                    titles: vec![change.title.clone()],
                    settings: change.settings.clone(),
                    price,
                    saves: saves(worst, &left),
                    plan: changed,
                };
                Some((left.margin, repair))
            })
            .collect();
        enough.sort_by_key(|(margin, repair)| (*margin, repair.saves));
        if enough.is_empty() {
            repairs.extend(together(context, plan, worst, price, &singles, &mut after));
        }
        for (_, repair) in enough {
            let names = |repair: &Repair| repair.settings.iter().map(|(setting, _)| *setting).collect::<Vec<_>>();
            if repairs.iter().all(|known| names(known) != names(&repair)) {
                repairs.push(repair);
            }
        }
    }
    let mut fixes: Vec<Fix> = repairs.iter().filter_map(|repair| as_fix(context, plan, repair)).collect();
    if fixes.is_empty() {
        let mut largest: Vec<&Change> = singles.iter().collect();
        largest.sort_by_key(|change| std::cmp::Reverse(change.saves));
        fixes.extend(largest.into_iter().take(SUGGESTIONS).map(|change| suggestion(context, plan, change)));
    }
    fixes
}

/// The single changes of a resolved plan, the best first, as suggestions; none where the context does not want them priced.
pub fn suggestions(context: &Context<'_>, plan: &Seen<'_>, resolved: &Resolved) -> Vec<Fix> {
    if !context.repairs.wants(plan.index) {
        return Vec::new();
    }
    let changes = changes(resolved, context.base, context.environment);
    changes.iter().take(SUGGESTIONS).map(|change| suggestion(context, plan, change)).collect()
}

/// A single change as a suggestion; what it saves, and whether that is enough.
fn suggestion(context: &Context<'_>, plan: &Seen<'_>, change: &Change) -> Fix {
    let enough = if change.estimate.fits { "fits" } else { "not enough alone" };
    let edits = edit_settings(context.document, plan.index, &change.settings).unwrap_or_default();
    Fix::suggestion(format!("{}: saves {}, {enough}", change.title, change.saves), edits)
}

/// What each single change leaves, by its place, once it was asked for: the plan, and the changes that then make it fit.
type After = std::collections::HashMap<usize, Option<(Resolved, Repair, Vec<Change>)>>;

/// Several changes no dearer than `price`, one of them as dear: the pair that is just enough, or else the change that saves
/// most, again and again.
fn together(
    context: &Context<'_>,
    plan: &Seen<'_>,
    worst: &Resolved,
    price: Price,
    singles: &[Change],
    after: &mut After,
) -> Option<Repair> {
    let start = || Repair {
        titles: Vec::new(),
        settings: Vec::new(),
        price: Price::Speed,
        saves: Bytes(0),
        plan: plan.written.plan.clone(),
    };
    let mut pairs: Vec<Repair> = Vec::new();
    for (at, first) in singles.iter().enumerate().filter(|(_, first)| first.price <= price) {
        let left = after.entry(at).or_insert_with(|| {
            let (now, repair) = step(context, plan, worst, &start(), first)?;
            let seconds = fitting(&now, context.base, context.environment);
            Some((now, repair, seconds))
        });
        let Some((now, repair, seconds)) = left else { continue };
        let as_dear = |second: &&Change| first.price.max(second.price) == price;
        let steps = seconds.iter().filter(as_dear).filter_map(|second| step(context, plan, now, repair, second));
        pairs.extend(steps.map(|(_, repair)| repair));
    }
    // The first that leaves enough is the one that is just enough; none after it need be estimated.
    pairs.sort_by_key(|repair| repair.saves);
    let mut thin = None;
    for pair in pairs {
        let Some(left) = left(context, &pair.plan) else { continue };
        let pair = Repair { saves: saves(worst, &left), ..pair };
        match left.margin {
            Margin::Enough => return Some(pair),
            Margin::Thin if thin.is_none() => thin = Some(pair),
            Margin::Thin => {}
        }
    }
    if thin.is_some() {
        return thin;
    }

    let said = |change: &&Change| change.price <= price && changed(context, plan, &change.settings).is_some();
    let (mut now, mut repair) = (worst.clone(), start());
    for taken in 0..STEPS {
        let change = match taken {
            0 => singles.iter().find(said).cloned(),
            _ => changes_up_to(price, &now, context.base, context.environment).iter().find(said).cloned(),
        }?;
        (now, repair) = step(context, plan, &now, &repair, &change)?;
        if change.estimate.fits {
            // What cheaper changes can do is a repair already.
            let left = left(context, &repair.plan).filter(|_| repair.price == price)?;
            return Some(Repair { saves: saves(worst, &left), ..repair });
        }
    }
    None
}

/// A change on top of a repair.
fn step(
    context: &Context<'_>,
    plan: &Seen<'_>,
    now: &Resolved,
    repair: &Repair,
    change: &Change,
) -> Option<(Resolved, Repair)> {
    let next = with_settings(&now.plan, &change.settings)?;
    let next = setups(&next, context.base, context.environment).ok()?.into_iter().next()?;
    let mut settings = repair.settings.clone();
    for (setting, value) in &change.settings {
        match settings.iter_mut().find(|(known, _)| known == setting) {
            Some(known) => known.1.clone_from(value),
            None => settings.push((setting, value.clone())),
        }
    }
    let repair = Repair {
        titles: repair.titles.iter().chain([&change.title]).cloned().collect(),
        plan: changed(context, plan, &settings)?,
        settings,
        price: repair.price.max(change.price),
        saves: Bytes(repair.saves.0 + change.saves.0),
    };
    Some((next, repair))
}

/// The plan with other values of some settings, as its file says it then; none where that cannot.
fn changed(context: &Context<'_>, plan: &Seen<'_>, settings: &[(&'static str, String)]) -> Option<Plan> {
    let own = &plan.written.plan;
    if context.document.foreign.is_none() {
        return with_settings(own, settings);
    }
    let said = edit_foreign(context.document, settings)?.plan;
    // which no other trainer's file says
    Some(Plan { device: own.device.clone(), budget: own.budget.clone(), ..said })
}

/// What a plan leaves when every run of it fits.
struct Left {
    margin: Margin,
    /// The highest peak.
    peak: u64,
}

fn left(context: &Context<'_>, plan: &Plan) -> Option<Left> {
    let mut least = Left { margin: Margin::Enough, peak: 0 };
    for one in costed(plan, context.base, context.environment).ok()? {
        let estimate = one.estimate.ok().filter(|estimate| estimate.fits)?;
        least.peak = least.peak.max(estimate.peak.process.bytes);
        if is_thin(&one.resolved.setup, &estimate) {
            least.margin = Margin::Thin;
        }
    }
    Some(least)
}

/// What a repaired plan takes less than the run that needed most.
fn saves(worst: &Resolved, left: &Left) -> Bytes {
    let before = estimate(&worst.setup).map_or(0, |estimate| estimate.peak.process.bytes);
    Bytes(before.saturating_sub(left.peak))
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
