//! `memspec-lint tables`.

use std::fs;
use std::path::PathBuf;

use clap::Args;
use memspec::model::Environment;
use memspec::plan::EngineName;

use super::{Failure, Outcome, print, print_json};
use crate::output::tables::{csv, markdown};
use crate::tables::{Assumptions, tables};

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint tables                          every table of the guide, as Markdown
  memspec-lint tables --csv > tables.csv
  memspec-lint tables --json | jq '.rows[] | select(.table == \"Training memory\")'
  memspec-lint tables --engine unsloth --context 4096
  memspec-lint tables --json | jq .assumptions > mine.json; memspec-lint tables --assumptions mine.json

A figure that the engine does not cost says so, and why; one that nobody measured is unknown.

Exit codes: 0 printed, 2 could not run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As Markdown, which is the default
    #[arg(long)]
    markdown: bool,
    /// For programs
    #[arg(long, conflicts_with = "markdown")]
    json: bool,
    /// For spreadsheets
    #[arg(long, conflicts_with_all = ["markdown", "json"])]
    csv: bool,
    /// What the guide leaves open, in place of the standard assumptions: a JSON file as `--json` prints it
    #[arg(long, value_name = "FILE")]
    assumptions: Option<PathBuf>,
    /// Whose engine trains
    #[arg(long)]
    engine: Option<EngineName>,
    /// Tokens of a sample, at least 2
    #[arg(long, value_parser = clap::value_parser!(u64).range(2..=1 << 20))]
    context: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let broken = |error: serde_json::Error| {
        Failure::new(format_args!("cannot read the tables' data: {error}"), "please report this")
    };
    let mut assumptions = match &arguments.assumptions {
        None => Assumptions::standard().map_err(broken)?,
        Some(path) => {
            let text = fs::read_to_string(path).map_err(|error| {
                Failure::new(format_args!("cannot read `{}`: {error}", path.display()), "check the path")
            })?;
            serde_json::from_str(&text).map_err(|error| {
                Failure::new(
                    format_args!("`{}` is not a file of assumptions: {error}", path.display()),
                    "`memspec-lint tables --json | jq .assumptions` prints one",
                )
            })?
        }
    };
    assumptions.engine = arguments.engine.unwrap_or(assumptions.engine);
    assumptions.context = arguments.context.unwrap_or(assumptions.context);
    let tables = tables(assumptions, &Environment::from_process()).map_err(broken)?;
    match (arguments.json, arguments.csv) {
        (true, _) => print_json(&tables)?,
        (_, true) => print(&csv(&tables))?,
        _ => print(&markdown(&tables))?,
    }
    Ok(Outcome::Clean)
}
