//! `memspec-lint accuracy`: predictions beside measured runs.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, Outcome, print, print_json};
use crate::accuracy;
use crate::accuracy::public::{self, PublicFile};
use crate::output::Style;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint accuracy data/measured.jsonl
  memspec-lint accuracy data/measured_public.csv
  memspec-lint accuracy mine.jsonl --json | jq '.summary.one_gpu.allocated'

A row is a JSON object on a line of its own: {\"job\": {\"model\": \"llama3-8b\", \"quant\": \"nf4\", \"batch\": 2, \"seq\": 2048}, \"peak\": 8126724608}
data/README.md says what the keys of a job mean, and what else a row may have: phases, reserved_peak, process_bytes, allocator_limit_gib, outcome.

Exit codes: 0 every row was predicted, 1 some were not (each says why), 2 the file could not be read or has no rows";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The rows, one JSON object a line
    rows: PathBuf,
    /// Print the report for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let path = arguments.rows.display();
    let bytes = std::fs::read(&arguments.rows)
        .map_err(|error| Failure::new(format_args!("cannot read `{path}`: {error}"), "check the path"))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Failure::new(format_args!("`{path}` is not UTF-8 text"), "rows are JSON, one object a line"))?;
    if let Some(file) = PublicFile::of(&text) {
        return published(file, &text, arguments, style);
    }
    let report = accuracy::assess(&text);
    if report.rows.is_empty() {
        let help = "a row is a line such as {\"job\": {\"model\": \"llama3-8b\"}, \"peak\": 8126724608}";
        return Err(Failure::new(format_args!("there are no rows in `{path}`"), help));
    }
    if arguments.json {
        print_json(&report)?;
    } else {
        print(&accuracy::table(&report, style))?;
    }
    Ok(if report.summary.failed == 0 { Outcome::Clean } else { Outcome::Findings })
}

/// Figures, fates or contexts that others published.
fn published(file: PublicFile, text: &str, arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let unread = |problem: String| {
        let path = arguments.rows.display();
        Failure::new(format_args!("`{path}`: {problem}"), "data/README.md names the columns")
    };
    match file {
        PublicFile::Figures => {
            let report = public::assess_public(text).map_err(unread)?;
            if arguments.json { print_json(&report)? } else { print(&public::table(&report, style))? }
        }
        PublicFile::Verdicts => {
            let rows = public::assess_verdicts(text).map_err(unread)?;
            if arguments.json { print_json(&rows)? } else { print(&public::verdicts_text(&rows, style))? }
        }
        PublicFile::Longest => {
            let rows = public::assess_longest(text).map_err(unread)?;
            if arguments.json { print_json(&rows)? } else { print(&public::longest_text(&rows))? }
        }
    }
    Ok(Outcome::Clean)
}
