//! # ambiguous-unit (SPEC004)
//!
//! ## What it does
//! Finds memory written in `KB`, `MB`, `GB` or `TB`: powers of ten, where memory is counted in powers of two.
//!
//! ## Why is this bad?
//! `16GB` is 14.9 GiB. The 7 % between them are the usual headroom, and most who write `GB` mean `GiB`.
//!
//! ## Example
//! ```mem
//! budget { device_memory <= 12GB }
//! ```
//!
//! ## Use instead
//! ```mem
//! budget { device_memory <= 12GiB }
//! ```
//!
//! ## Fix safety
//! Unsafe: the limit becomes 7 % larger, which is what is probably meant.

use memspec::plan::{Edit, Kind, Plan, Written};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Fix;
use crate::registry::{self, Rule};

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let marketing = registry::find("vram-marketing-gb").map_or_else(Vec::new, |rule| (rule.check)(rule, context));
    let mut findings = Vec::new();
    for plan in &context.plans {
        for (path, span) in amounts(plan.written) {
            let text = context.text(span.clone()).trim();
            // Above what the device has, another rule says more.
            let said = path == "budget.device_memory"
                && marketing.iter().any(|found| found.plan.as_deref() == Some(&plan.written.name));
            let Some(unit) = decimal(text).filter(|_| !said) else { continue };
            let binary = format!("{}iB", &unit[..1]);
            let better = text.replace(unit, &binary);
            let title = format!("replace `{text}` with `{better}`");
            findings.push(
                Finding::new(rule, format!("`{text}` counts in powers of ten"))
                    .label(span.clone(), format!("`{binary}` is meant?"))
                    .of(plan.written)
                    .help(format!("write `{better}`, or the same amount in `{binary}`"))
                    .fix(Fix::risky(title, vec![Edit { range: span, text: better }])),
            );
        }
    }
    findings
}

/// The settings that are bytes of memory, with the places of their values.
fn amounts(written: &Written) -> Vec<(String, std::ops::Range<usize>)> {
    let is_memory = |path: &str| match Plan::setting(path).map(|setting| setting.kind) {
        // Disks are sold and counted in powers of ten.
        Some(Kind::Bytes) => path != "budget.disk",
        Some(Kind::OneOf(kinds)) => kinds.contains(&Kind::Bytes),
        _ => false,
    };
    written
        .spans
        .iter()
        .filter(|(path, _)| is_memory(path))
        .map(|(path, place)| (path.to_owned(), place.value.clone()))
        .collect()
}

fn decimal(text: &str) -> Option<&'static str> {
    ["KB", "MB", "GB", "TB"].into_iter().find(|unit| text.contains(unit))
}
