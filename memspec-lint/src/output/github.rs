//! Findings as GitHub's workflow commands, which annotate the lines of a pull request.

use std::fmt::Write;

use memspec::plan::Source;

use crate::diagnostic::{Finding, Severity};

/// A finding on one line: `::error file=plan.mem,line=3,..::message`.
pub fn annotation(source: &Source, finding: &Finding) -> String {
    let span = finding.labels.first().map_or(0..0, |label| label.span.clone());
    let ((line, column), (end_line, end_column)) = (source.position(span.start), source.position(span.end));
    let command = match finding.severity {
        Severity::Info => "notice",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    let (file, title) = (property(&source.name), property(&finding.title()));
    let mut text = format!("::{command} file={file},line={line},endLine={end_line}");
    // Columns are shown only of one line.
    if line == end_line {
        let _ = write!(text, ",col={column},endColumn={end_column}");
    }
    let mut message = finding.message.clone();
    for more in finding.help.iter().chain(&finding.notes) {
        message += "\n";
        message += more;
    }
    let _ = writeln!(text, ",title={title}::{}", value(&message));
    text
}

fn value(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    value(text).replace(':', "%3A").replace(',', "%2C")
}
