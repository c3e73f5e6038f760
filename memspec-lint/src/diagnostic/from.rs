//! Findings from what memspec itself reports: mistakes of the text, names that are unknown, plans that are too big.

use std::ops::Range;

use memspec::cost::Estimate;
use memspec::plan::{Document, Plan, Problem, Written};
use memspec::quantity::Bytes;
use memspec::setup::{Setup, Unresolved};

use super::Finding;
use crate::fix::Fix;
use crate::output::estimate::{by_setting, not_measured};
use crate::registry;

/// Settings that a report on a plan's peak names, the largest.
const NAMED: usize = 4;

/// Where a setting is written in words that a label can stand under: the setting's own statement, else the name of the
/// block or of the plan that it would stand in.
pub fn place_of(written: &Written, setting: &str) -> Option<Range<usize>> {
    let spans = &written.spans;
    let block = setting.split(['.', '[']).next().unwrap_or(setting);
    if block != setting
        && let Some(place) = spans.get(setting)
    {
        return Some(place.statement.clone());
    }
    let place = spans.get(block).or_else(|| spans.get("name")).or_else(|| spans.get("plan"))?;
    // A block's statement is all of its lines; its name and kind say enough.
    let end = spans.get(&format!("{block}.kind")).map_or(place.key.end, |kind| kind.key.end.max(place.key.end));
    let is_setting = spans.get(block).is_some() && Plan::setting(block).is_some();
    Some(if is_setting { place.statement.clone() } else { place.key.start..end })
}

/// The findings for what is wrong with a document's text.
pub fn from_problems(document: &Document) -> Vec<Finding> {
    document.problems.iter().map(|problem| from_problem(document, problem)).collect()
}

fn from_problem(document: &Document, problem: &Problem) -> Finding {
    let mut finding = Finding::error(problem.code, &problem.message).label(problem.span.clone(), &problem.label);
    finding.help.clone_from(&problem.help);
    for (span, text) in &problem.related {
        finding = finding.label(span.clone(), text);
    }
    if let Some(edit) = &problem.fix {
        let removed = document.source.text.get(edit.range.clone()).unwrap_or_default();
        let title = match (removed.trim(), edit.text.trim()) {
            ("", "") if removed.contains('\n') => "join the lines".to_owned(),
            ("", "") => "remove the space".to_owned(),
            (written, "") => format!("remove `{written}`"),
            ("", text) => format!("insert `{text}`"),
            (written, text) => format!("replace `{written}` with `{text}`"),
        };
        // A word that is misspelt has no effect as it is; another edition may read every line differently.
        let fix = if problem.code == "edition" { Fix::risky } else { Fix::safe };
        finding = finding.fix(fix(title, vec![edit.clone()]));
    }
    finding
}

/// The findings for settings that cannot be resolved.
pub fn from_unresolved(written: &Written, unresolved: &[Unresolved]) -> Vec<Finding> {
    unresolved
        .iter()
        .map(|problem| {
            let mut finding =
                Finding::error(registry::name_of(problem.rule), &problem.message).at(written, &problem.setting, "");
            finding.help.clone_from(&problem.help);
            finding
        })
        .collect()
}

/// With a label at each setting that owns much of the peak: its bytes, and what they are.
pub(crate) fn with_owners(mut finding: Finding, written: &Written, estimate: &Estimate) -> Finding {
    for (setting, bytes, parts) in by_setting(estimate).into_iter().take(NAMED) {
        let Some(place) = place_of(written, setting) else { continue };
        let words = format!("{}: {}", Bytes(bytes), parts.join(", "));
        // Settings that stand at one place share a label.
        match finding.labels.iter_mut().find(|label| label.span == place) {
            Some(label) => label.text = format!("{}; {words}", label.text),
            None => finding = finding.label(place, words),
        }
    }
    finding
}

/// The finding for a setup that needs more memory than it may take: by how much, and which settings own the peak.
pub fn from_too_big(written: &Written, setup: &Setup, estimate: &Estimate) -> Finding {
    let (limit, process) = (Bytes(estimate.limit_bytes), estimate.peak.process);
    let message = format!(
        "plan `{}` needs {} ({} to {}) in its {} phase and may take {limit}",
        estimate.name,
        Bytes(process.bytes),
        Bytes(process.low),
        Bytes(process.high),
        estimate.peak.phase,
    );
    let limited_by =
        ["budget.device_memory", "budget.host_memory"].into_iter().find(|path| written.spans.get(path).is_some());
    let (setting, words) = match limited_by.filter(|_| setup.budget.written) {
        Some(limit_setting) => (limit_setting, format!("leaves {limit}")),
        None => ("device", format!("has {limit}")),
    };
    let finding = Finding::error("peak-over-budget", message).at(written, setting, words);
    let mut finding = with_owners(finding, written, estimate);
    let over = Bytes(process.high.saturating_sub(estimate.limit_bytes));
    finding = finding.note(format!("{over} too much at the upper end of the estimate"));
    if let Some(why) = not_measured(setup, estimate) {
        finding = finding.note(why);
    }
    finding
}
