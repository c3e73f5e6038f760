//! Comments that allow findings: `# memspec: allow(thin-headroom) measured on this machine`.
//!
//! A comment holds for its own line and for the one below it; above a block or a plan, or behind its `{`, for all of it.
//! `# memspec: file-allow(rule) reason` holds for the file. There is no form that allows everything, mistakes in the
//! text itself cannot be allowed, and a comment that silences nothing is a finding of its own.

use std::ops::Range;

use memspec::plan::{Allow, Document, Edit};

use crate::diagnostic::Finding;
use crate::fix::Fix;
use crate::registry::{self, Rule};

/// Leaves out what the document's comments allow, and adds a finding for each comment that silences nothing.
///
/// `complete` says that every rule could look at every plan: while one could not, nothing is known to be silenced in vain. Nor is it of a rule
/// that was not `looked_at`.
pub fn silence(
    document: &Document,
    findings: Vec<Finding>,
    complete: bool,
    looked_at: impl Fn(&Rule) -> bool,
) -> Vec<Finding> {
    let scopes: Vec<Vec<Range<usize>>> = document.allows.iter().map(|allow| scope(document, allow)).collect();
    let mut used: Vec<Vec<bool>> = document.allows.iter().map(|allow| vec![false; allow.names.len()]).collect();
    let mut kept: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| {
            let mut silenced = false;
            for (n, allow) in document.allows.iter().enumerate() {
                let here = scopes[n].iter().any(|scope| scope.contains(&finding.offset()));
                for (m, (name, _)) in allow.names.iter().enumerate() {
                    if here && may_allow(finding) && means(name, finding) {
                        used[n][m] = true;
                        silenced = true;
                    }
                }
            }
            !silenced
        })
        .collect();
    for (allow, used) in document.allows.iter().zip(used) {
        for (n, _) in used.iter().enumerate().filter(|(_, used)| !**used) {
            if registry::find(&allow.names[n].0).is_none_or(|rule| complete && looked_at(rule)) {
                kept.push(unused(document, allow, n));
            }
        }
    }
    kept
}

fn means(name: &str, finding: &Finding) -> bool {
    name == finding.rule || finding.code.is_some_and(|code| name.eq_ignore_ascii_case(code))
}

/// A mistake in the text leaves a setting out of the plan; that is never what is wanted.
pub(crate) fn may_allow(finding: &Finding) -> bool {
    registry::find(finding.rule).is_none_or(|rule| rule.family() != "SPEC" || rule.severity < crate::Severity::Error)
}

/// The bytes that a comment holds for.
fn scope(document: &Document, allow: &Allow) -> Vec<Range<usize>> {
    let text = &document.source.text;
    if allow.file {
        return vec![Range { start: 0, end: text.len() + 1 }];
    }
    let start = document.source.line_start(allow.span.start);
    let next = |at: usize| text[at..].find('\n').map_or(text.len() + 1, |n| at + n + 1);
    let line = next(allow.span.end.min(text.len()));
    let end = if is_alone(document, allow) && line <= text.len() { next(line) } else { line };
    let mut scopes = vec![Range { start, end }];
    // The statements that begin there, whole.
    for written in &document.plans {
        let begins = |place: &&memspec::plan::Place| (start..end).contains(&place.statement.start);
        scopes.extend(written.spans.iter().map(|(_, place)| place).filter(begins).map(|place| place.statement.clone()));
    }
    scopes
}

/// The comment has its line to itself, so that it holds for the line below.
fn is_alone(document: &Document, allow: &Allow) -> bool {
    let Range { start, .. } = allow.span;
    document.source.text[document.source.line_start(start)..start].trim().is_empty()
}

/// A comment on the line above a byte that allows these rules; or their names beside those that a comment there allows already. None in JSON, which has
/// no comments.
pub fn comment(document: &Document, offset: usize, rules: &[&str], reason: &str) -> Option<Edit> {
    let source = &document.source;
    if source.name.ends_with(".json") {
        return None;
    }
    let line = source.line_start(offset);
    let names = rules.join(", ");
    let above = document.allows.iter().find(|allow| {
        let start = source.line_start(allow.span.start);
        !allow.file && line > 0 && start == source.line_start(line - 1) && is_alone(document, allow)
    });
    if let Some((_, last)) = above.and_then(|allow| allow.names.last()) {
        return Some(Edit { range: last.end..last.end, text: format!(", {names}") });
    }
    let indent = &source.text[line..];
    let indent = &indent[..indent.len() - indent.trim_start_matches([' ', '\t']).len()];
    Some(Edit { range: line..line, text: format!("{indent}# memspec: allow({names}) {reason}\n") })
}

fn unused(document: &Document, allow: &Allow, index: usize) -> Finding {
    let rule = registry::UNUSED_ALLOW;
    let (name, span) = &allow.names[index];
    let remove = removal(document, allow, index);
    let (message, help) = match registry::find(name) {
        Some(_) => (format!("this comment allows `{name}`, which is not found here"), None),
        None => {
            let nearest = registry::nearest(name);
            (
                format!("there is no rule `{name}` to allow"),
                nearest.map(|rule| format!("did you mean `{}`?", rule.name)),
            )
        }
    };
    let title = if allow.names.len() == 1 { "remove the comment".to_owned() } else { format!("remove `{name}`") };
    let mut finding =
        Finding::new(rule, message).label(span.clone(), "silences nothing").fix(Fix::safe(title, vec![remove]));
    finding.help = help;
    finding
}

/// Takes a name out of the comment, or the comment out of the text where it has no other.
fn removal(document: &Document, allow: &Allow, index: usize) -> Edit {
    let range = if allow.names.len() == 1 {
        return without_comment(document, allow);
    } else if index + 1 < allow.names.len() {
        allow.names[index].1.start..allow.names[index + 1].1.start
    } else {
        allow.names[index - 1].1.end..allow.names[index].1.end
    };
    Edit { range, text: String::new() }
}

/// Takes the comment out of the text, with its line where it has one for itself.
pub(crate) fn without_comment(document: &Document, allow: &Allow) -> Edit {
    let text = &document.source.text;
    let start = document.source.line_start(allow.span.start);
    let range = if is_alone(document, allow) {
        let end = text[allow.span.end..].find('\n').map_or(text.len(), |at| allow.span.end + at + 1);
        start..end
    } else {
        start + text[start..allow.span.start].trim_end().len()..allow.span.end
    };
    Edit { range, text: String::new() }
}
