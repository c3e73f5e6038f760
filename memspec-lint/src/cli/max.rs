//! `memspec-lint max`.

use std::path::PathBuf;

use clap::Args;
use memspec::quantity::Bytes;
use memspec::solve::{Growing, largest};
use serde::Serialize;

use super::open::{OnDevice, Opener};
use super::{Failure, Outcome, find, print, print_json};
use crate::output::Style;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint max context train.mem      the longest samples that the plan's device holds
  memspec-lint max batch train.mem        the largest micro batch
  memspec-lint max batch train.mem --device l4 --json

Exit codes: 0 found, 1 nothing fits, 2 could not be estimated";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// What is made as large as it can be
    #[arg(value_enum)]
    what: What,
    /// The plan file; - is standard input
    plan: PathBuf,
    #[command(flatten)]
    on: OnDevice,
    /// For programs
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Tokens of a sample
    Context,
    /// Samples of a micro batch
    Batch,
}

/// The largest values of every plan.
#[derive(Serialize)]
struct Plans {
    plans: Vec<Found>,
}

/// The largest value of a plan.
#[derive(Serialize)]
struct Found {
    name: String,
    what: Growing,
    /// 0: not even 1 fits.
    largest: u64,
    /// The plan's own value.
    written: u64,
    /// Else the model's positions end it.
    bounded_by_memory: bool,
    /// The process's peak with the largest value.
    process_bytes: u64,
    limit_bytes: u64,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let (linter, document) = Opener::new(&arguments.on)?.open(&arguments.plan)?;
    let context = linter.context(&document);
    find::sound(&context)?;
    let growing = match arguments.what {
        What::Context => Growing::Context,
        What::Batch => Growing::Batch,
    };
    let mut plans = Vec::new();
    for (resolved, _) in context.plans.iter().flat_map(|plan| plan.estimates()) {
        let setup = &resolved.setup;
        if setup.device.is_any() {
            let what = format!("nothing says on which card plan `{}` runs", setup.name);
            return Err(Failure::new(what, "name one: `--device rtx4090`, in the plan or in memspec.toml"));
        }
        let found = largest(setup, growing)
            .map_err(|error| Failure::new(error, "`memspec-lint check` says where the plan asks for it"))?;
        plans.push(Found {
            name: setup.name.clone(),
            what: growing,
            largest: found.value,
            written: match growing {
                Growing::Context => setup.data.context,
                Growing::Batch => u64::from(setup.train.micro_batch),
            },
            bounded_by_memory: found.bounded_by_memory,
            process_bytes: found.estimate.peak.process.bytes,
            limit_bytes: found.estimate.limit_bytes,
        });
    }
    let nothing = plans.iter().any(|found| found.largest == 0);
    if arguments.json {
        print_json(&Plans { plans })?;
    } else {
        print(&plans.iter().map(|found| line(found, style)).collect::<String>())?;
    }
    Ok(if nothing { Outcome::Findings } else { Outcome::Clean })
}

fn line(found: &Found, style: Style) -> String {
    let (takes, limit) = (Bytes(found.process_bytes), Bytes(found.limit_bytes));
    let (setting, unit) = match found.what {
        Growing::Context => ("context", "tok"),
        Growing::Batch => ("micro_batch", ""),
    };
    let value = match found.largest {
        0 => style.bad(&format!("no {setting} fits: with 1 it takes {takes} of {limit}")),
        value => {
            let end = if found.bounded_by_memory { "" } else { "; the model has no more positions" };
            format!("{} takes {takes} of {limit}{end}", style.good(&format!("{setting} = {value}{unit}")))
        }
    };
    format!(
        "{}: {value} {}\n",
        style.bold(&format!("plan `{}`", found.name)),
        style.faint(&format!("(now {})", found.written))
    )
}
