//! Findings as miette reports, with the lines they are about.

use std::fmt;

use memspec::plan::Source;
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, NarratableReportHandler, SourceCode,
};

use super::Style;
use crate::diagnostic::{Finding, Severity};
use crate::fix::Applicability;

/// Fixes that are named in a report.
const NAMED: usize = 5;

/// A finding with the text that it is about, as a diagnostic.
#[derive(Debug)]
pub struct Report {
    finding: Finding,
    source: NamedSource<String>,
    help: Option<String>,
}

impl Report {
    /// A report of a finding in that text.
    pub fn new(source: &Source, finding: &Finding) -> Self {
        let text = NamedSource::new(&source.name, source.text.clone());
        Self { finding: finding.clone(), source: text, help: help(finding) }
    }

    /// The same in sentences: its places are named by their lines, in place of a drawing.
    fn narrated(source: &Source, finding: &Finding) -> Self {
        let mut report = Self::new(source, finding);
        let lines = std::mem::take(&mut report.finding.labels).into_iter().map(|label| {
            let (line, _) = source.position(label.span.start);
            let written = source.text.get(label.span).unwrap_or_default().lines().next().unwrap_or_default();
            let words = if label.text.is_empty() { String::new() } else { format!(": {}", label.text) };
            format!("{} line {line}, `{written}`{words}", source.name)
        });
        report.help = Some(lines.chain(report.help).collect::<Vec<_>>().join("\n"));
        report
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.finding.message)
    }
}

impl std::error::Error for Report {}

impl Diagnostic for Report {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.finding.title()))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.finding.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Info => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        (!self.finding.labels.is_empty()).then_some(&self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let labels = self.finding.labels.iter().enumerate().map(|(n, label)| {
            let text = (!label.text.is_empty()).then(|| label.text.clone());
            match n {
                0 => LabeledSpan::new_primary_with_span(text, label.span.clone()),
                _ => LabeledSpan::new_with_span(text, label.span.clone()),
            }
        });
        Some(Box::new(labels))
    }
}

/// Help, notes and fixes, a line each.
fn help(finding: &Finding) -> Option<String> {
    let mut lines: Vec<String> = finding.help.iter().cloned().collect();
    lines.extend(finding.fixes.iter().take(NAMED).map(|fix| match fix.applicability {
        Applicability::Safe => format!("--fix: {}", fix.title),
        Applicability::Unsafe => format!("--unsafe-fixes: {}", fix.title),
        Applicability::DisplayOnly => format!("or: {}", fix.title),
    }));
    if finding.fixes.len() > NAMED {
        lines.push(format!("and {} more: `memspec-lint estimate` lists them", finding.fixes.len() - NAMED));
    }
    lines.extend(finding.notes.iter().map(|note| format!("note: {note}")));
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// One finding, drawn.
pub fn render(source: &Source, finding: &Finding, style: Style) -> String {
    let report = if style.narrated { Report::narrated(source, finding) } else { Report::new(source, finding) };
    diagnostic(&report, style)
}

/// Findings, one after the other.
pub fn render_all(source: &Source, findings: &[Finding], style: Style) -> String {
    findings.iter().map(|finding| render(source, finding, style)).collect::<Vec<_>>().join("\n")
}

/// Any diagnostic, drawn the same way: for the errors of programs that use this crate's reports.
pub fn diagnostic(diagnostic: &dyn Diagnostic, style: Style) -> String {
    let mut text = String::new();
    if style.narrated {
        let handler = NarratableReportHandler::new().with_context_lines(1);
        return match handler.render_report(&mut text, diagnostic) {
            Ok(()) => text,
            Err(fmt::Error) => format!("{diagnostic}\n"),
        };
    }
    let theme = if style.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler =
        GraphicalReportHandler::new_themed(theme).with_width(style.width).with_links(false).with_context_lines(1);
    match handler.render_report(&mut text, diagnostic) {
        Ok(()) => text,
        Err(fmt::Error) => format!("{diagnostic}\n"),
    }
}

/// A finding on one line: `plan.mem:3:5: error[MEM001 peak-over-budget] ..`.
pub fn concise(source: &Source, finding: &Finding) -> String {
    let (line, column) = source.position(finding.offset());
    format!("{}:{line}:{column}: {}[{}] {}\n", source.name, finding.severity, finding.title(), finding.message)
}

/// `3 files, 1 error, 2 warnings; 1 fixable with --fix`. Where not all repairs were `priced`, it is not known which plans can be made to fit.
pub fn summary(files: usize, findings: &[&Finding], priced: bool) -> String {
    let count = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let mut text = count(files, "file");
    let (errors, warnings, infos) = (of(Severity::Error), of(Severity::Warning), of(Severity::Info));
    if files == 0 {
        return format!("{text}: nothing to check\n");
    }
    if errors + warnings + infos == 0 {
        return format!("{text}: all fits, nothing found\n");
    }
    for (number, word) in [(errors, "error"), (warnings, "warning")] {
        if number > 0 {
            text += &format!(", {}", count(number, word));
        }
    }
    if infos > 0 {
        text += &format!(", {infos} info");
    }
    let fixable = |allowed| findings.iter().filter(|finding| crate::fix::chosen(finding, allowed).is_some()).count();
    let (safe, all) = (fixable(Applicability::Safe), fixable(Applicability::Unsafe));
    if safe > 0 {
        text += &format!("; {}{safe} fixable with --fix", if priced { "" } else { "at least " });
    }
    if all > safe {
        text += &format!(
            "; {} with --fix --unsafe-fixes",
            if safe > 0 { format!("{} more", all - safe) } else { format!("{all} fixable") }
        );
    }
    if !priced {
        text += "; --diff shows what makes plans fit";
    }
    text + "\n"
}
