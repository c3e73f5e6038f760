//! `memspec-lint convert`.

mod notation;

use std::path::{Path, PathBuf};

use clap::Args;
use memspec::exchange::foreign::{self, Note};
use memspec::exchange::yaml;
use memspec::lang;
use memspec::plan::{Document, Plan, Source};
use memspec::solve;
use serde::Serialize;

use super::notes::list;
use super::open::{STDIN, standard_input};
use super::{Failure, Outcome, eprint, file, find, print, print_json};
use crate::diagnostic;
use crate::output::{Style, report};
use notation::Notation;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint convert sft.yaml --to mem            what TRL trains, with TRL's defaults written out
  memspec-lint convert train.mem --to trl           a file for `trl sft --config`
  memspec-lint convert train.mem --to trl -o sft.yaml
  memspec-lint convert axolotl.yml --to trl         what axolotl trains, as far as TRL can
  memspec-lint convert qwen3_sft.yaml --to axolotl  what LLaMA-Factory trains, as far as axolotl can
  memspec-lint convert train.mem --to yaml          the same plan in another notation
  memspec-lint convert - --from trl --to json --json < sft.yaml | jq .notes

Whose file it is shows its content; --from says it where that does not. What has no counterpart is listed on standard error, never left out
silently; docs/convert.md has every key.

Exit codes: 0 converted, and it takes the same memory; 1 something that changes memory is not in the result; 2 could not be converted";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The file; - is standard input
    file: PathBuf,
    /// What it becomes
    #[arg(long, value_enum)]
    to: Notation,
    /// What it is, where its content does not say
    #[arg(long, value_enum)]
    from: Option<Notation>,
    /// Which of its plans, where it has several and the result holds one
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// Where the result goes, in place of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Converted<'a> {
    from: &'static str,
    to: &'static str,
    /// The result.
    text: &'a str,
    /// What is not in it, or is otherwise there.
    notes: &'a [Note],
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let (from, document) = open(arguments)?;
    let plans = chosen(arguments, &document)?;
    let mut notes = document.foreign.as_ref().map_or_else(Vec::new, |foreign| foreign.notes.clone());
    let text = match arguments.to {
        Notation::Mem => plans.iter().map(lang::write).collect::<Vec<_>>().join("\n"),
        Notation::Yaml => yaml::write(&plans),
        Notation::Json => json(&plans),
        foreign => {
            let trainer = foreign.trainer().ok_or_else(|| Failure::new("no such notation", "see `--help`"))?;
            let plan = alone(&plans, arguments)?;
            let written = match foreign::write(plan, trainer) {
                Ok(written) => written,
                // Something is left to choose.
                Err(_) => foreign::write(&resolved(plan, arguments)?, trainer)
                    .map_err(|error| Failure::new(error, "`memspec-lint resolve` says what there is to choose"))?,
            };
            notes.extend(written.notes);
            written.text
        }
    };
    if let Some(path) = &arguments.output {
        file::create(path, &text)?;
    }
    if arguments.json {
        print_json(&Converted { from: from.name(), to: arguments.to.name(), text: &text, notes: &notes })?;
    } else if arguments.output.is_none() {
        print(&text)?;
    }
    if !arguments.json {
        eprint(&list(&notes, &document.source));
    }
    let changed = notes.iter().any(|note| note.kind.changes_memory());
    Ok(if changed { Outcome::Findings } else { Outcome::Clean })
}

/// The file, read as what it is or is said to be.
fn open(arguments: &Arguments) -> Result<(Notation, Document), Failure> {
    let path = &arguments.file;
    let (name, text) = if path == Path::new(STDIN) {
        ("stdin".to_owned(), standard_input()?)
    } else {
        (path.display().to_string(), file::read(path)?)
    };
    let from = arguments.from.unwrap_or_else(|| Notation::of(path, &text));
    let source = Source { name, text };
    let document = match (from, from.trainer()) {
        (_, Some(trainer)) => foreign::read(source, trainer),
        (Notation::Mem, None) => lang::read(source),
        (_, None) => yaml::read(source),
    };
    let mut document = find::readable(document)?;
    // These are notes, and listed as such.
    document.problems.retain(|problem| problem.code != foreign::NOT_UNDERSTOOD);
    if !document.problems.is_empty() {
        let mistakes = diagnostic::from_problems(&document);
        return Err(Failure(report::render_all(&document.source, &mistakes, Style::of_stderr())));
    }
    Ok((from, document))
}

/// The plans that are asked for.
fn chosen(arguments: &Arguments, document: &Document) -> Result<Vec<Plan>, Failure> {
    let named = |name: &String| arguments.plan.as_ref().is_none_or(|wanted| wanted == name);
    let plans: Vec<Plan> =
        document.plans.iter().filter(|written| named(&written.name)).map(|written| written.plan.clone()).collect();
    if plans.is_empty() {
        let names: Vec<_> = document.plans.iter().map(|written| format!("`{}`", written.name)).collect();
        let help = if names.is_empty() { "it holds none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(Failure::new(format_args!("no such plan in `{}`", document.source.name), help));
    }
    Ok(plans)
}

/// The one plan that a trainer's file holds.
fn alone<'a>(plans: &'a [Plan], arguments: &Arguments) -> Result<&'a Plan, Failure> {
    match plans {
        [plan] => Ok(plan),
        _ => Err(Failure::new(
            format_args!("a file of {} holds one plan, and here are {}", arguments.to.name(), plans.len()),
            "`--plan NAME` takes one of them",
        )),
    }
}

/// The plan with its choices made.
fn resolved(plan: &Plan, arguments: &Arguments) -> Result<Plan, Failure> {
    let base = arguments.file.parent().unwrap_or(Path::new(""));
    let runs = solve::setups(plan, base, &crate::here()).map_err(|unresolved| {
        let first = unresolved.first().map(ToString::to_string).unwrap_or_default();
        Failure::new(format_args!("plan `{}` cannot be resolved: {first}", plan.name), "`memspec-lint check` says more")
    })?;
    match runs.as_slice() {
        [run] => Ok(run.explicit()),
        _ => Err(Failure::new(
            format_args!(
                "plan `{}` has {} runs, and a file of {} holds one",
                plan.name,
                runs.len(),
                arguments.to.name()
            ),
            "take one of those that `memspec-lint resolve` prints",
        )),
    }
}

fn json(plans: &[Plan]) -> String {
    let text = match plans {
        [plan] => serde_json::to_string_pretty(plan),
        several => serde_json::to_string_pretty(&serde_json::json!({ "plans": several })),
    };
    text.unwrap_or_default() + "\n"
}
