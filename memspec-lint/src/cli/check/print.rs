//! What `check` prints.

use super::{Arguments, Checked};
use crate::cli::{Failure, eprint, file, print as print_text, print_json};
use crate::diagnostic::Finding;
use crate::output::{Style, github, json, report, sarif, statistics};

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// With the lines of the file
    #[default]
    Full,
    /// One line a finding
    Concise,
    /// In sentences, for screen readers
    Narrated,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// Annotations of a GitHub workflow
    Github,
}

pub(super) fn print(
    files: &[Checked],
    findings: &[&Finding],
    arguments: &Arguments,
    style: Style,
) -> Result<(), Failure> {
    let format = arguments.format();
    if let ([file], true) = (files, arguments.fix && arguments.is_stdin()) {
        // The fixed text is the result; what is left to say goes beside it.
        eprint(&as_text(files, findings, arguments, format, Style::of_stderr()));
        return print_text(&file.after);
    }
    if arguments.statistics {
        let counts = statistics::count(findings);
        return match format {
            Format::Json | Format::Sarif => print_json(&counts),
            _ => print_text(&(statistics::table(&counts, style) + &summary(files, findings))),
        };
    }
    match format {
        Format::Json => print_json(&as_json(files)),
        Format::Sarif => {
            print_json(&sarif::log(files.iter().map(|file| (&file.shown.source, file.findings.as_slice()))))
        }
        Format::Narrated => {
            print_text(&as_text(files, findings, arguments, format, Style { narrated: true, colour: false, ..style }))
        }
        _ => print_text(&as_text(files, findings, arguments, format, style)),
    }
}

fn summary(files: &[Checked], findings: &[&Finding]) -> String {
    report::summary(files.len(), findings, !files.iter().any(Checked::wants_fixes))
}

fn as_json(files: &[Checked]) -> json::Checked {
    let findings = files.iter().flat_map(|file| &file.findings);
    let fixed = files.iter().map(|file| file.applied.len()).sum();
    json::Checked {
        files: files.iter().map(|file| json::File::new(&file.shown, &file.findings, &file.applied)).collect(),
        summary: json::Summary::of(files.len(), fixed, findings),
    }
}

fn as_text(files: &[Checked], findings: &[&Finding], arguments: &Arguments, format: Format, style: Style) -> String {
    let mut text = String::new();
    if arguments.diff {
        for file in files {
            text += &file::diff(&file.shown.source.name, &file.before, &file.after, style);
        }
        return text + &summary(files, findings);
    }
    for file in files {
        for (rule, title) in &file.applied {
            text += &format!("{}: fixed {rule}: {title}\n", file.shown.source.name);
        }
        if !file.allowed.is_empty() {
            text += &format!("{}: allowed {}\n", file.shown.source.name, file.allowed.join(", "));
        }
        for finding in &file.findings {
            text += &match format {
                Format::Github => github::annotation(&file.shown.source, finding),
                Format::Concise => report::concise(&file.shown.source, finding),
                _ => report::render(&file.shown.source, finding, style) + "\n",
            };
        }
        for (plan, cards) in file.cards.iter().filter(|_| matches!(format, Format::Full | Format::Narrated)) {
            text += &format!("{}: plan `{plan}` names no device: {cards}\n", file.shown.source.name);
        }
    }
    text + &summary(files, findings)
}
