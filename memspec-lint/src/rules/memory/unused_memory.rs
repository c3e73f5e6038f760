//! # unused-memory (MEM017)
//!
//! ## What it does
//! Finds plans that take less than 55 % of the memory they may, and could train faster with more of it.
//!
//! ## Why is this bad?
//! A larger micro batch with less accumulation, or fewer recomputed blocks, trains the same in less time. Each suggestion is estimated; they
//! come in order of the time that they save.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 4; checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "a100-80"
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 2048tok }
//! train { micro_batch = 8 }
//! ```

use memspec::device::DeviceKind;
use memspec::quantity::Bytes;
use memspec::solve::{Change, Price, what_if};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::{Fix, edit_settings};
use crate::registry::Rule;
use crate::rules::memory::thin_headroom::is_thin;

/// Of what the plan may take.
const LITTLE: f64 = 0.55;
/// Less time than this is noise.
const FASTER: f64 = 0.02;
/// Suggestions.
const NAMED: usize = 3;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) = plan.estimates().find(|(resolved, estimate)| {
            let device = &resolved.setup.device;
            device.kind != DeviceKind::Cpu
                && !device.is_any()
                && (estimate.needs().0 as f64) < LITTLE * estimate.limit_bytes as f64
        })?;
        let gained = |change: &Change| -change.slower.unwrap_or(0.0);
        let mut changes = plan.remember(rule, || what_if(resolved, context.base, context.environment));
        changes.retain(|change| {
            let enough = change.estimate.fits && !is_thin(&resolved.setup, &change.estimate);
            change.price == Price::Memory && enough && gained(change) > FASTER
        });
        changes.sort_by(|a, b| gained(b).total_cmp(&gained(a)));
        let best = changes.first()?;
        let left = Bytes(now.limit_bytes.saturating_sub(now.needs().0));
        let mut finding = Finding::new(rule, format!("plan `{}` leaves {left} unused", now.name)).at(
            plan.written,
            "device",
            format!("{:.0} % faster: {}", 100.0 * gained(best), best.title),
        );
        finding.fixes = changes
            .iter()
            .take(NAMED)
            .map(|change| {
                let title =
                    format!("{}: {:.0} % faster, takes {} more", change.title, 100.0 * gained(change), change.takes);
                let edits = edit_settings(context.document, plan.index, &change.settings).unwrap_or_default();
                Fix::suggestion(title, edits)
            })
            .collect();
        Some(finding)
    })
}
