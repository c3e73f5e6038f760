//! `memspec-lint resolve`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use memspec::lang;
use memspec::plan::Plan;
use memspec::solve::{Rejected, Resolved, Why};
use serde::Serialize;

use super::open::{OnDevice, Opener};
use super::{Failure, Outcome, find, print, print_json};

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint resolve train.mem                the plan with every `fit`, `sweep` and `auto` replaced by what was chosen
  memspec-lint resolve train.mem > chosen.mem   the reasons are comments, so it is a plan
  memspec-lint resolve train.mem --device l4    the same for another device
  memspec-lint resolve train.mem --json | jq '.plans[0].rejected'

Of several `fit`s the one that comes last in docs/settings.md gives way first: rank and context are kept for longer than the micro batch.

Exit codes: 0 every run meets its budget, 1 one does not, 2 could not be resolved";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The plan file; - is standard input
    plan: PathBuf,
    #[command(flatten)]
    on: OnDevice,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// Every run of every plan.
#[derive(Serialize)]
struct Plans {
    plans: Vec<Run>,
}

/// A plan with its choices made.
#[derive(Serialize)]
struct Run {
    /// It meets its budget.
    fits: bool,
    plan: Plan,
    /// What was taken, by dotted path.
    chosen: BTreeMap<String, String>,
    /// What was preferred, in the order in which it was tried.
    rejected: Vec<NotTaken>,
}

/// Values that were not taken.
#[derive(Serialize)]
struct NotTaken {
    /// By dotted path; a setting with a choice that is not here has no value that helps.
    values: BTreeMap<String, String>,
    why: String,
    /// Bytes that it needs, at least; only where memory is the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    needs_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_bytes: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let (linter, document) = Opener::new(&arguments.on)?.open(&arguments.plan)?;
    let context = linter.context(&document);
    find::sound(&context)?;
    let resolved: Vec<(&Resolved, bool)> = context
        .plans
        .iter()
        .flat_map(|plan| plan.setups.iter())
        .map(|one| (&one.resolved, one.meets_budget()))
        .collect();
    if arguments.json {
        print_json(&Plans { plans: resolved.iter().map(|&(resolved, fits)| Run::new(resolved, fits)).collect() })?;
    } else {
        let texts: Vec<_> = resolved.iter().map(|&(resolved, fits)| text(resolved, fits)).collect();
        print(&texts.join("\n"))?;
    }
    Ok(if resolved.iter().all(|(_, fits)| *fits) { Outcome::Clean } else { Outcome::Findings })
}

impl Run {
    fn new(resolved: &Resolved, fits: bool) -> Self {
        let rejected = resolved.rejected.iter().map(NotTaken::new).collect();
        Self { fits, plan: resolved.explicit(), chosen: resolved.chosen.iter().cloned().collect(), rejected }
    }
}

impl NotTaken {
    fn new(rejected: &Rejected) -> Self {
        let memory = match &rejected.why {
            Why::Memory(too_much) | Why::Tensors(too_much) => Some(too_much),
            Why::Limit(_) | Why::Assert(_) | Why::Refused(_) => None,
        };
        Self {
            values: rejected.values.iter().cloned().collect(),
            why: rejected.why.to_string(),
            needs_bytes: memory.map(|memory| memory.needs.0),
            limit_bytes: memory.map(|memory| memory.limit.0),
        }
    }
}

/// The plan as text, below what was chosen and why, as comments.
fn text(resolved: &Resolved, fits: bool) -> String {
    let mut text = String::new();
    if !fits {
        text += "# Nothing meets the budget; these are the last values of each `fit`.\n";
    }
    if !resolved.rejected.is_empty() {
        text += "# Not taken:\n";
    }
    // What fails for the same reason is told once, with the values that all of it has.
    for alike in resolved.rejected.chunk_by(|one, next| one.why == next.why) {
        let Some((first, more)) = alike.split_first() else { continue };
        let shared = |value: &&(String, String)| more.iter().all(|other| other.values.contains(value));
        let values: Vec<String> =
            first.values.iter().filter(shared).map(|(setting, value)| format!("{setting} {value}")).collect();
        let (values, count) =
            if values.is_empty() { ("these values".to_owned(), more.len()) } else { (values.join(", "), 0) };
        let others = if count > 0 { format!(" and {count} more") } else { String::new() };
        let _ = writeln!(text, "#   {values}{others}: {}", first.why);
    }
    text + &lang::write(&resolved.explicit())
}
