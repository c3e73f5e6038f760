//! What `check --json` prints.

use memspec::plan::{Document, Source};
use schemars::JsonSchema;
use serde::Serialize;

use crate::diagnostic::{Finding, Severity};
use crate::fix::{Applicability, chosen};

/// All that was checked.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(title = "memspec-lint check")]
pub struct Checked {
    /// The files, in order of name.
    pub files: Vec<File>,
    /// How much was found.
    pub summary: Summary,
}

/// A file and its findings.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Its findings, in order of place.
    pub findings: Vec<Found>,
    /// The fixes that were applied, with `--fix`.
    pub applied: Vec<Applied>,
}

/// A fix that was applied.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Applied {
    /// The rule's name.
    pub rule: String,
    /// What was done.
    pub title: String,
}

/// A finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Found {
    /// The rule's name: `peak-over-budget`.
    pub rule: &'static str,
    /// The rule's code: `MEM001`.
    pub code: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// Nothing is left open: it follows from facts, or from both ends of an estimate's interval. Errors and warnings that are
    /// certain fail a check.
    pub certain: bool,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// More to know.
    pub notes: Vec<String>,
    /// The plan it is about.
    pub plan: Option<String>,
    /// Where it is reported.
    pub location: Location,
    /// The places it is about, with a few words each.
    pub labels: Vec<Place>,
    /// Ways to repair it, the best first; alternatives of each other.
    pub fixes: Vec<Repair>,
}

/// A place of the text.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Location {
    /// Its first byte.
    pub start: usize,
    /// The byte behind its last.
    pub end: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in characters, from 1.
    pub column: usize,
    /// The line of its end.
    pub end_line: usize,
    /// The column of its end.
    pub end_column: usize,
}

/// A place and a few words.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Place {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// The words.
    pub text: String,
}

/// A way to repair a finding.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Repair {
    /// What it does.
    pub title: String,
    /// How freely it may be applied.
    pub applicability: Applicability,
    /// Its edits; they do not overlap.
    pub edits: Vec<Replacement>,
}

/// A replacement of a part of the text.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Replacement {
    /// The first byte that is replaced.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
    /// What stands there then.
    pub text: String,
}

/// How much was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// Files that were checked.
    pub files: usize,
    /// Findings that are errors.
    pub errors: usize,
    /// Findings that are warnings.
    pub warnings: usize,
    /// Findings that are worth knowing.
    pub infos: usize,
    /// Findings that `--fix` would repair.
    pub fixable: usize,
    /// Fixes that were applied.
    pub fixed: usize,
}

impl File {
    /// A document and what was found in it.
    pub fn new(document: &Document, findings: &[Finding], applied: &[(&'static str, String)]) -> Self {
        Self {
            path: document.source.name.clone(),
            findings: findings.iter().map(|finding| Found::new(&document.source, finding)).collect(),
            applied: applied
                .iter()
                .map(|(rule, title)| Applied { rule: (*rule).to_owned(), title: title.clone() })
                .collect(),
        }
    }
}

impl Found {
    fn new(source: &Source, finding: &Finding) -> Self {
        let label = |label: &crate::Label| Place { location: location(source, &label.span), text: label.text.clone() };
        Self {
            rule: finding.rule,
            code: finding.code,
            severity: finding.severity,
            certain: finding.certain,
            message: finding.message.clone(),
            help: finding.help.clone(),
            notes: finding.notes.clone(),
            plan: finding.plan.clone(),
            location: location(source, &finding.labels.first().map_or(0..0, |label| label.span.clone())),
            labels: finding.labels.iter().map(label).collect(),
            fixes: finding
                .fixes
                .iter()
                .map(|fix| Repair {
                    title: fix.title.clone(),
                    applicability: fix.applicability,
                    edits: fix
                        .edits
                        .iter()
                        .map(|edit| Replacement {
                            start: edit.range.start,
                            end: edit.range.end,
                            text: edit.text.clone(),
                        })
                        .collect(),
                })
                .collect(),
        }
    }
}

fn location(source: &Source, span: &std::ops::Range<usize>) -> Location {
    let ((line, column), (end_line, end_column)) = (source.position(span.start), source.position(span.end));
    Location { start: span.start, end: span.end, line, column, end_line, end_column }
}

impl Summary {
    /// Counts the findings of all files.
    pub fn of<'a>(files: usize, fixed: usize, findings: impl Iterator<Item = &'a Finding>) -> Self {
        let mut summary = Self { files, fixed, ..Self::default() };
        for finding in findings {
            match finding.severity {
                Severity::Error => summary.errors += 1,
                Severity::Warning => summary.warnings += 1,
                Severity::Info => summary.infos += 1,
            }
            summary.fixable += usize::from(chosen(finding, Applicability::Safe).is_some());
        }
        summary
    }
}

/// The JSON schema of [`Checked`], as `schemas/check.schema.json` has it.
pub fn schema() -> String {
    super::estimate::schema_of::<Checked>()
}
