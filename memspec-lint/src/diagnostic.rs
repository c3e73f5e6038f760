//! What a rule says: a finding, where it is, and how it can be repaired.

use std::ops::Range;

use memspec::plan::Written;
use schemars::JsonSchema;
use serde::Serialize;

use crate::fix::Fix;
use crate::registry::{self, Rule};

mod from;

pub(crate) use from::with_owners;
pub use from::{from_problems, from_too_big, from_unresolved, place_of};

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

/// How sure a rule is that what it finds is wrong. It has nothing to do with how bad that would be, which [`Severity`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// Good plans do it, too. Such rules are off until they are selected.
    Heuristic,
    /// It comes of an estimate, or is nearly always meant otherwise. A finding fails the check only where both ends of the
    /// estimate's interval say the same.
    Likely,
    /// It follows from the plan, the catalog and the source of the stack.
    Certain,
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
    /// Nothing is left open: it follows from facts, or from both ends of an estimate's interval.
    pub certain: bool,
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

impl Confidence {
    /// As it is written in lists.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Heuristic => "heuristic",
            Self::Likely => "likely",
            Self::Certain => "certain",
        }
    }
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Finding {
    /// A finding of a rule, with the rule's severity and confidence.
    pub fn new(rule: &Rule, message: impl Into<String>) -> Self {
        let certain = rule.confidence == Confidence::Certain;
        Self { code: Some(rule.code), severity: rule.severity, certain, ..Self::error(rule.name, message) }
    }

    /// An error that is no rule's: what a program that uses plans could not do.
    pub fn error(name: &'static str, message: impl Into<String>) -> Self {
        Self {
            rule: name,
            code: registry::find(name).map(|rule| rule.code),
            severity: Severity::Error,
            certain: true,
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

    /// Certain or not, where the rule alone does not say.
    #[must_use]
    pub fn certain_if(mut self, certain: bool) -> Self {
        self.certain = certain;
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

    /// It fails a check: an error or warning that is certain.
    pub fn fails(&self) -> bool {
        self.certain && self.severity > Severity::Info
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
