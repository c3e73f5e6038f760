//! `check --add-allow`: comments that allow what is found, where it is found.

use std::collections::BTreeMap;

use memspec::plan::{Document, Edit};

use crate::diagnostic::Finding;
use crate::fix;
use crate::suppress::may_allow;

/// The text with a comment above each line that has findings which may be allowed, and the names of those.
///
/// A comment holds for the line below it, so names go into one that stands there already.
pub(super) fn add(document: &Document, findings: &[Finding], reason: &str) -> Option<(String, Vec<&'static str>)> {
    let text = &document.source.text;
    let line_of = |at: usize| text[..at.min(text.len())].rfind('\n').map_or(0, |end| end + 1);
    let mut lines: BTreeMap<usize, Vec<&'static str>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| may_allow(finding)) {
        let names = lines.entry(line_of(finding.offset())).or_default();
        if !names.contains(&finding.rule) {
            names.push(finding.rule);
        }
    }
    let edits: Vec<Edit> = lines
        .iter()
        .map(|(&line, names)| {
            let above = document.allows.iter().find(|allow| {
                !allow.file
                    && line > 0
                    && line_of(allow.span.start) == line_of(line - 1)
                    && is_alone(text, allow.span.start)
            });
            match above.and_then(|allow| allow.names.last()) {
                Some((_, last)) => Edit { range: last.end..last.end, text: format!(", {}", names.join(", ")) },
                None => {
                    let indent: String = text[line..].chars().take_while(|c| *c == ' ' || *c == '\t').collect();
                    let comment = format!("{indent}# memspec: allow({}) {reason}\n", names.join(", "));
                    Edit { range: line..line, text: comment }
                }
            }
        })
        .collect();
    let names: Vec<_> = lines.into_values().flatten().collect();
    (!names.is_empty()).then_some((fix::apply(text, &edits)?, names))
}

/// The comment has its line to itself.
fn is_alone(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    text[line..at].trim().is_empty()
}
