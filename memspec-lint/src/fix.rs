//! Repairs: edits of a plan's text, and applying them.

use std::path::Path;

use memspec::plan::{Document, Edit, Plan};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Linter;
use crate::diagnostic::Finding;

mod removal;
mod setting;

pub use memspec::plan::apply;
pub use removal::remove_setting;
pub use setting::edit_settings;
pub(crate) use setting::{edit_foreign, with_settings};

/// Rounds of fixing a document at most; each applies every fix that does not touch another's place.
const ROUNDS: usize = 20;

/// How freely a fix may be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Applicability {
    /// The plan trains the same as before: applied by `--fix`.
    Safe,
    /// The plan may train something else, or the intent is a guess: applied by `--fix --unsafe-fixes`.
    Unsafe,
    /// A suggestion, never applied.
    DisplayOnly,
}

/// A way to repair a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// What it does, in a few words: "micro_batch 4 -> 2: saves 1.9 GiB, fits".
    pub title: String,
    /// How freely it may be applied.
    pub applicability: Applicability,
    /// The edits of the text; they do not overlap.
    pub edits: Vec<Edit>,
}

impl Fix {
    /// A fix that leaves the training as it is.
    pub fn safe(title: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { title: title.into(), applicability: Applicability::Safe, edits }
    }

    /// A fix that may change what is trained.
    pub fn risky(title: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { title: title.into(), applicability: Applicability::Unsafe, edits }
    }

    /// A suggestion.
    pub fn suggestion(title: impl Into<String>, edits: Vec<Edit>) -> Self {
        Self { title: title.into(), applicability: Applicability::DisplayOnly, edits }
    }

    /// A fix that gives a setting of a plan a value, written as `.mem` writes it.
    pub fn set(
        document: &Document,
        plan: usize,
        path: &str,
        value: &str,
        applicability: Applicability,
    ) -> Option<Self> {
        let edits = edit_settings(document, plan, &[(path, value.to_owned())])?;
        Some(Self { title: format!("{path} = {value}"), applicability, edits })
    }
}

/// What fixing a document did.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The document as it is now.
    pub document: Document,
    /// What is still wrong with it.
    pub findings: Vec<Finding>,
    /// What was done: the rule and the fix's title.
    pub applied: Vec<(&'static str, String)>,
}

/// Applies the first fix of each finding that `allowed` permits, again and again until none is left.
///
/// A fix that would leave the text with more mistakes than before is not applied.
pub fn fix(linter: &Linter, document: Document, allowed: Applicability) -> Fixed {
    fix_among(linter, document, allowed, &|_| None)
}

/// The same among texts that go before the files on disk (see [`memspec::plan::read_text_among`]).
pub fn fix_among(
    linter: &Linter,
    document: Document,
    allowed: Applicability,
    texts: &dyn Fn(&Path) -> Option<String>,
) -> Fixed {
    let mut findings = linter.check(&document);
    let mut fixed = Fixed { document, findings: Vec::new(), applied: Vec::new() };
    for _ in 0..ROUNDS {
        let Some((document, applied)) = round(linter, &fixed.document, &findings, allowed, texts) else { break };
        fixed.document = document;
        fixed.applied.extend(applied);
        findings = linter.check(&fixed.document);
    }
    fixed.findings = findings;
    fixed
}

type Round = (Document, Vec<(&'static str, String)>);

fn round(
    linter: &Linter,
    document: &Document,
    findings: &[Finding],
    allowed: Applicability,
    texts: &dyn Fn(&Path) -> Option<String>,
) -> Option<Round> {
    let chosen: Vec<(&Finding, &Fix)> = findings.iter().filter_map(|f| Some((f, chosen(f, allowed)?))).collect();
    let text = &document.source.text;
    let mut edits: Vec<Edit> = Vec::new();
    let mut applied = Vec::new();
    let mut now = None;
    for (finding, fix) in chosen {
        let with: Vec<Edit> = edits.iter().chain(&fix.edits).cloned().collect();
        if touch(&edits, &fix.edits) {
            continue;
        }
        let Some(changed) = apply(text, &with).filter(|changed| changed != text) else { continue };
        let read = linter.read_text_among(document.source.name.clone(), changed, texts);
        let mistakes = now.as_ref().map_or(document.problems.len(), |now: &Document| now.problems.len());
        if read.problems.len() > mistakes {
            continue;
        }
        edits = with;
        applied.push((finding.rule, fix.title.clone()));
        now = Some(read);
    }
    now.map(|now| (now, applied))
}

/// The fix that would be applied to a finding.
pub fn chosen(finding: &Finding, allowed: Applicability) -> Option<&Fix> {
    finding.fixes.iter().find(|fix| {
        fix.applicability <= allowed && fix.applicability != Applicability::DisplayOnly && !fix.edits.is_empty()
    })
}

/// Two fixes touch when a place of one meets a place of the other, if only end to end: both might insert the same line.
fn touch(some: &[Edit], others: &[Edit]) -> bool {
    let meet = |a: &Edit, b: &Edit| a.range.start <= b.range.end && b.range.start <= a.range.end;
    some.iter().any(|a| others.iter().any(|b| meet(a, b)))
}

/// A value as the plan's file writes it: words bare and text in quotes where the setting takes them.
pub fn literal(document: &Document, path: &str, value: &str) -> String {
    let source = &document.source.name;
    let json = source.ends_with(".json");
    let kind = Plan::setting(path).map(|setting| setting.kind);
    let number = value.parse::<f64>().is_ok() || value == "true" || value == "false" || value.starts_with('[');
    let word = value.chars().next().is_some_and(char::is_alphabetic)
        && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let names = kind.is_none_or(|kind| kind.takes_names());
    let text = kind.is_some_and(|kind| kind.takes_text() && !kind.takes_names());
    let quote = if json {
        !number
    } else if source.ends_with(".mem") {
        text || (names && !word && !number)
    } else {
        text && !word && value.contains(['#', ':', ' ', '"'])
    };
    if quote { serde_json::to_string(value).unwrap_or_else(|_| value.to_owned()) } else { value.to_owned() }
}
