//! Single changes that train the same in less time, and still fit.

use memspec::cost::{Estimate, time};
use memspec::device::DeviceKind;
use memspec::setup::Setup;
use memspec::solve::{Change, Price, Resolved, what_if};

use crate::context::{Context, Seen};
use crate::fix::{Fix, edit_settings};
use crate::registry::Rule;
use crate::rules::memory::thin_headroom::is_thin;

/// Of what a plan may take.
const LITTLE: f64 = 0.55;
/// A share of the tokens a second; less is noise.
const FASTER: f64 = 0.02;
/// Suggestions.
const NAMED: usize = 3;

/// Its card is known, and so how fast it is.
pub(crate) fn is_timed(setup: &Setup) -> bool {
    setup.device.kind != DeviceKind::Cpu && !setup.device.is_any()
}

/// It takes little more than half of what it may.
pub(crate) fn leaves_much(setup: &Setup, estimate: &Estimate) -> bool {
    is_timed(setup) && (estimate.needs().0 as f64) < LITTLE * estimate.limit_bytes as f64
}

/// The changes that gain most tokens a second, the best first; each is the plan estimated anew.
pub(crate) fn fixes(
    rule: &Rule,
    context: &Context<'_>,
    plan: &Seen<'_>,
    (resolved, _): (&Resolved, &Estimate),
) -> Vec<Fix> {
    let Ok(now) = time(&resolved.setup) else { return Vec::new() };
    let now = now.tokens_per_second.value;
    let changes = plan.remember(rule, || what_if(resolved, context.base, context.environment));
    let mut faster: Vec<(f64, &Change)> = changes
        .iter()
        .filter(|change| {
            let same = matches!(change.price, Price::Memory | Price::Speed);
            same && change.estimate.fits && !is_thin(&resolved.setup, &change.estimate)
        })
        // A token takes so much longer, and so in a second there are so many less.
        .filter_map(|change| Some((now / (1.0 + change.slower?) - now, change)))
        .filter(|(gained, _)| *gained > FASTER * now)
        .collect();
    faster.sort_by(|a, b| b.0.total_cmp(&a.0));
    let fix = |(gained, change): &(f64, &Change)| {
        let memory = match (change.saves.0, change.takes.0) {
            (0, 0) => "in the same memory".to_owned(),
            (_, 0) => format!("saves {}", change.saves),
            _ => format!("takes {} more", change.takes),
        };
        let title = format!("{}: +{gained:.0} tokens/s ({:.0} % more), {memory}", change.title, 100.0 * gained / now);
        Fix::suggestion(title, edit_settings(context.document, plan.index, &change.settings).unwrap_or_default())
    };
    faster.iter().take(NAMED).map(fix).collect()
}
