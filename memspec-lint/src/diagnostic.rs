//! What a rule says: a finding, where it is, and how it can be repaired.

use std::ops::Range;

use memspec::plan::{Document, Written};
use memspec::setup::Unresolved;
use schemars::JsonSchema;
use serde::Serialize;

use crate::fix::Fix;
use crate::registry::{self, Rule};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Likely not what is wanted.
    Warning,
    /// The plan cannot run, or not as it says.
    Error,
}

/// Something that is wrong with a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The rule's name: `peak-over-budget`.
    pub rule: &'static str,
    /// The rule's code: `MEM001`; none for what is no rule's (a run that could not start).
    pub code: Option<&'static str>,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// The places it is about; the first is where it is reported.
    pub labels: Vec<Label>,
    /// More to know: figures, and how sure they are.
    pub notes: Vec<String>,
    /// Ways to repair it, the best first. They are alternatives: only one is applied.
    pub fixes: Vec<Fix>,
    /// The plan it is about.
    pub plan: Option<String>,
}

/// A place of the source, and a few words beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Bytes of the source.
    pub span: Range<usize>,
    /// The words; may be empty.
    pub text: String,
}

impl Severity {
    /// As it is written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Finding {
    /// A finding of a rule, with the rule's severity.
    pub fn new(rule: &Rule, message: impl Into<String>) -> Self {
        Self { code: Some(rule.code), severity: rule.severity, ..Self::error(rule.name, message) }
    }

    /// An error that is no rule's: what a program that uses plans could not do.
    pub fn error(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            rule: name,
            code: registry::find(name).map(|rule| rule.code),
            severity: Severity::Error,
            message: message.into(),
            help: None,
            labels: Vec::new(),
            notes: Vec::new(),
            fixes: Vec::new(),
            plan: None,
        }
    }

    /// With a place; the first one given is where the finding is reported.
    #[must_use]
    pub fn label(mut self, span: Range<usize>, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// With the place where a setting is written, or else the block or plan around it.
    #[must_use]
    pub fn at(self, written: &Written, setting: &str, text: impl Into<String>) -> Self {
        let finding = match place_of(written, setting) {
            Some(span) => self.label(span, text),
            None => self,
        };
        finding.of(written)
    }

    /// About this plan.
    #[must_use]
    pub fn of(mut self, written: &Written) -> Self {
        self.plan = Some(written.name.clone());
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With a line of more to know.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// With a way to repair it, if there is one.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<Option<Fix>>) -> Self {
        self.fixes.extend(fix.into());
        self
    }

    /// Where it is reported: the start of its first label.
    pub fn offset(&self) -> usize {
        self.labels.first().map_or(0, |label| label.span.start)
    }

    /// The rule by code and name: `MEM001 peak-over-budget`.
    pub fn title(&self) -> String {
        match self.code {
            Some(code) => format!("{code} {}", self.rule),
            None => self.rule.to_owned(),
        }
    }
}

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
    let is_setting = spans.get(block).is_some() && memspec::plan::Plan::setting(block).is_some();
    Some(if is_setting { place.statement.clone() } else { place.key.start..end })
}

/// The findings for what is wrong with a document's text.
pub fn from_problems(document: &Document) -> Vec<Finding> {
    document.problems.iter().map(|problem| from_problem(document, problem)).collect()
}

fn from_problem(document: &Document, problem: &memspec::plan::Problem) -> Finding {
    let mut finding = Finding::error(problem.code, &problem.message).label(problem.span.clone(), &problem.label);
    finding.help.clone_from(&problem.help);
    for (span, text) in &problem.related {
        finding = finding.label(span.clone(), text);
    }
    if let Some(edit) = &problem.fix {
        let written = document.source.text.get(edit.range.clone()).unwrap_or_default().trim();
        let title = match (written, edit.text.trim()) {
            (written, "") => format!("remove `{written}`"),
            ("", text) => format!("insert `{text}`"),
            (written, text) => format!("replace `{written}` with `{text}`"),
        };
        finding = finding.fix(Fix::safe(title, vec![edit.clone()]));
    }
    finding
}

/// The findings for settings that cannot be resolved.
pub fn from_unresolved(written: &Written, unresolved: &[Unresolved]) -> Vec<Finding> {
    unresolved
        .iter()
        .map(|problem| {
            let mut finding = Finding::error(registry::name_of(problem.rule), &problem.message).at(
                written,
                &problem.setting,
                "",
            );
            finding.help.clone_from(&problem.help);
            finding
        })
        .collect()
}
