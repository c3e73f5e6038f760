//! `check --add-allow`: comments that allow what is found, where it is found.

use std::collections::BTreeMap;

use memspec::plan::{Document, Edit};

use crate::diagnostic::Finding;
use crate::fix;
use crate::suppress::{comment, may_allow};

/// The text with a comment above each line that has findings which may be allowed, and the names of those.
///
/// A comment holds for the line below it, so names go into one that stands there already.
pub(super) fn add(document: &Document, findings: &[Finding], reason: &str) -> Option<(String, Vec<&'static str>)> {
    let mut lines: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| may_allow(finding)) {
        let names = lines.entry(document.source.line_start(finding.offset())).or_default();
        if !names.contains(&finding.rule) {
            names.push(finding.rule);
        }
    }
    let comments = lines.iter().map(|(&line, names)| comment(document, line, names, reason));
    let edits = comments.collect::<Option<Vec<Edit>>>()?;
    let names: Vec<_> = lines.into_values().flatten().collect();
    (!names.is_empty()).then_some((fix::apply(&document.source.text, &edits)?, names))
}
