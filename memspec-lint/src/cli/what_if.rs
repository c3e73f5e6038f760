//! `memspec-lint what-if`.

use std::path::PathBuf;

use clap::Args;
use memspec::solve::what_if;
use serde::Serialize;

use super::open::{OnDevice, Opener};
use super::{Failure, Outcome, find, print, print_json};
use crate::output::Style;
use crate::output::estimate::{WhatIf, changes};

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint what-if train.mem
  memspec-lint what-if train.mem --device l4
  memspec-lint what-if train.mem --json | jq '.plans[0].changes[] | select(.fits)'

A change is listed with what it saves, or with + what it takes, and with its price: memory only, slower, a little quality,
or that something else is trained. Where a time is known, with how much slower or faster a token is.

Exit codes: 0 said, 2 could not be estimated";

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

/// Every change of every plan.
#[derive(Serialize)]
struct Plans {
    plans: Vec<Changes>,
}

/// Every single change of a plan.
#[derive(Serialize)]
struct Changes {
    name: String,
    fits: bool,
    process_bytes: u64,
    changes: Vec<WhatIf>,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let (linter, document) = Opener::new(&arguments.on)?.open(&arguments.plan)?;
    let context = linter.context(&document);
    find::sound(&context)?;
    let plans: Vec<Changes> = context
        .plans
        .iter()
        .flat_map(|plan| plan.estimates())
        .map(|(resolved, estimate)| Changes {
            name: estimate.name.clone(),
            fits: estimate.fits,
            process_bytes: estimate.peak.process.bytes,
            changes: what_if(resolved, context.base, context.environment).iter().map(WhatIf::from).collect(),
        })
        .collect();
    if arguments.json {
        print_json(&Plans { plans })?;
    } else {
        let text = |plan: &Changes| {
            let (peak, fits) =
                (memspec::quantity::Bytes(plan.process_bytes), if plan.fits { "fits" } else { "does not fit" });
            let title = style.bold(&format!("plan `{}`", plan.name));
            format!("{title}: {peak} now, which {fits}\n{}", changes(&plan.changes, style))
        };
        print(&plans.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(Outcome::Clean)
}
