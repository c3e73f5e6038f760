//! A line above each plan: its peak, its limit, and whether it fits; of a sweep, one for each run.

use gen_lsp_types as lsp;
use memspec::cost::Estimate;
use memspec::quantity::Bytes;

use crate::context::{Repairs, Seen};
use crate::server::snapshot::Snapshot;

/// Cells of the bar.
const CELLS: u64 = 5;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::CodeLensParams) -> Option<Vec<lsp::CodeLens>> {
    let open = snapshot.open(&params.text_document.uri)?;
    if !snapshot.options.code_lens {
        return Some(Vec::new());
    }
    let context = snapshot.context(open, Repairs::None);
    let lenses = context.plans.iter().flat_map(|plan| {
        let range = plan.written.spans.get("plan").map(|place| snapshot.range(open, place.key.clone()));
        let titles = if range.is_some() { titles(snapshot, plan, &context) } else { Vec::new() };
        titles.into_iter().map(move |title| lsp::CodeLens {
            range: range.unwrap_or_default(),
            command: Some(lsp::Command { title, ..Default::default() }),
            data: None,
        })
    });
    Some(lenses.collect())
}

fn titles(snapshot: &Snapshot, plan: &Seen<'_>, context: &crate::Context<'_>) -> Vec<String> {
    let cards = snapshot.memo.cards(&plan.written.plan, context.base, context.environment);
    let several = plan.setups.len() > 1;
    let title = |(n, (resolved, estimate)): (usize, (_, &Estimate))| {
        let _: &memspec::solve::Resolved = resolved;
        let line = match cards.get(n) {
            Some(Some(cards)) => format!("peak {cards}"),
            _ => verdict(estimate),
        };
        // A run's name is that of the plan and its values.
        let run = estimate.name.strip_prefix(&plan.written.name).unwrap_or_default().trim();
        if several && !run.is_empty() { format!("{run}: {line}") } else { line }
    };
    plan.estimates().enumerate().map(title).collect()
}

/// `peak 13.2 of 14.6 GiB ▓▓▓▓░ fits`
fn verdict(estimate: &Estimate) -> String {
    let (peak, limit) = (Bytes(estimate.peak.process.bytes), Bytes(estimate.limit_bytes));
    // Where the peak itself is below the limit, it is the upper end of the estimate that is not.
    let peak = if !estimate.fits && peak <= limit { estimate.needs() } else { peak };
    let filled = (estimate.needs().0.saturating_mul(CELLS) / limit.0.max(1)).min(CELLS);
    let bar: String = (0..CELLS).map(|cell| if cell < filled { '▓' } else { '░' }).collect();
    let (peak, limit) = (peak.to_string(), limit.to_string());
    // One unit is enough for both.
    let unit = limit.rsplit_once(' ').map_or("", |(_, unit)| unit);
    let peak = peak.strip_suffix(unit).unwrap_or(&peak).trim_end();
    format!("peak {peak} of {limit} {bar} {}", if estimate.fits { "fits" } else { "does not fit" })
}
