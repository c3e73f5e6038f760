//! `memspec-lint check`.

use std::path::{Path, PathBuf};

use clap::Args;
use memspec::plan::Document;

use super::{Failure, Format, Outcome, file, find, print, print_json};
use crate::Linter;
use crate::diagnostic::{Finding, Severity};
use crate::fix::{self, Applicability};
use crate::output::{Style, json, report};

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint check plans/                      every .mem file in plans/ and below
  memspec-lint check train.yaml                  a plan in YAML or JSON, by its name
  memspec-lint check train.mem --fix             make it fit without changing what is trained
  memspec-lint check train.mem --diff --unsafe-fixes
  memspec-lint check --output-format concise     one line a finding, for editors

A finding is allowed with a comment above it: # memspec: allow(thin-headroom) why

Exit codes: 0 clean, 1 errors or warnings, 2 could not run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Plan files, and folders to search for .mem files
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Apply the fixes that keep the training the same
    #[arg(long)]
    fix: bool,
    /// With --fix or --diff, also apply fixes that may change what is trained
    #[arg(long)]
    unsafe_fixes: bool,
    /// Show what --fix would change, and change nothing
    #[arg(long, conflicts_with = "fix")]
    diff: bool,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output_format: Format,
    /// Short for --output-format json
    #[arg(long, conflicts_with = "output_format")]
    json: bool,
    /// Exit with 0 whatever is found
    #[arg(long)]
    exit_zero: bool,
}

/// A file after checking.
struct Checked {
    /// As it is after the fixes, and what the findings are about; with `--diff`, as it was.
    shown: Document,
    /// The texts before and after the fixes.
    before: String,
    after: String,
    findings: Vec<Finding>,
    applied: Vec<(&'static str, String)>,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let paths = find::plans(&arguments.paths)?;
    let format = if arguments.json { Format::Json } else { arguments.output_format };
    let mut files = Vec::with_capacity(paths.len());
    for path in &paths {
        let checked = check(path, arguments)?;
        if arguments.fix && checked.before != checked.after {
            file::write(path, &checked.after)?;
        }
        files.push(checked);
    }
    let findings: Vec<&Finding> = files.iter().flat_map(|file| &file.findings).collect();
    if format == Format::Json {
        print_json(&as_json(&files))?;
    } else {
        print(&as_text(&files, &findings, arguments, format, style))?;
    }
    let serious = findings.iter().any(|finding| finding.severity > Severity::Info);
    Ok(if serious && !arguments.exit_zero { Outcome::Findings } else { Outcome::Clean })
}

fn check(path: &Path, arguments: &Arguments) -> Result<Checked, Failure> {
    let document = find::read(path)?;
    let linter = Linter::for_file(path);
    let before = document.source.text.clone();
    if !arguments.fix && !arguments.diff {
        let findings = linter.check(&document);
        return Ok(Checked { shown: document, after: before.clone(), before, findings, applied: Vec::new() });
    }
    let allowed = if arguments.unsafe_fixes { Applicability::Unsafe } else { Applicability::Safe };
    let fixed = fix::fix(&linter, document.clone(), allowed);
    let after = fixed.document.source.text.clone();
    Ok(if arguments.diff {
        // What it shows is not done, so everything is still to be found.
        Checked { findings: linter.check(&document), shown: document, before, after, applied: Vec::new() }
    } else {
        Checked { shown: fixed.document, before, after, findings: fixed.findings, applied: fixed.applied }
    })
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
        return text + &report::summary(files.len(), findings);
    }
    for file in files {
        for (rule, title) in &file.applied {
            text += &format!("{}: fixed {rule}: {title}\n", file.shown.source.name);
        }
        for finding in &file.findings {
            text += &match format {
                Format::Concise => report::concise(&file.shown.source, finding),
                _ => report::render(&file.shown.source, finding, style) + "\n",
            };
        }
    }
    text + &report::summary(files.len(), findings)
}
