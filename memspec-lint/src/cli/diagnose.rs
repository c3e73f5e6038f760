//! `memspec-lint diagnose`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::open::{OnDevice, Opener, STDIN, standard_input};
use super::{Failure, Outcome, file, find, print, print_json};
use crate::diagnose::{Diagnosis, Found, PlanSays, death, explain, report, settings};
use crate::output::Style;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint diagnose train.log                what the message alone tells
  memspec-lint diagnose train.log train.mem      the allocation that was refused, what owns it, and what would have saved it
  memspec-lint diagnose - < train.log            from standard input
  memspec-lint diagnose train.log train.mem --json | jq .plan.suspect

It reads PyTorch's messages of every version, those of cuBLAS, NCCL and CUDA, and the ends of runs that the kernel killed.

Exit codes: 0 diagnosed, 1 the log says nothing of memory, 2 could not be read or estimated";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The run's log; - is standard input
    log: PathBuf,
    /// The run's plan
    plan: Option<PathBuf>,
    /// Which plan of the file; the first without this
    #[arg(long, value_name = "NAME", requires = "plan")]
    name: Option<String>,
    #[command(flatten)]
    on: OnDevice,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let name = arguments.log.display().to_string();
    let log = if arguments.log == Path::new(STDIN) { standard_input()? } else { file::read_lossy(&arguments.log)? };
    let Some(found) = death(&log) else {
        if arguments.json {
            print("null\n")?;
        } else {
            print(&format!("{name}: nothing in it says that memory ran out\n"))?;
        }
        return Ok(Outcome::Findings);
    };
    let plan = arguments.plan.as_deref().map(|path| says(arguments, path, &found)).transpose()?;
    let diagnosis = Diagnosis::new(found, plan);
    if arguments.json {
        print_json(&diagnosis)?;
    } else {
        print(&report(&diagnosis, &name, style))?;
    }
    Ok(Outcome::Clean)
}

/// What the run's plan says to it.
fn says(arguments: &Arguments, path: &Path, found: &Found) -> Result<PlanSays, Failure> {
    let (linter, mut document) = Opener::new(&arguments.on)?.open(path)?;
    for written in &mut document.plans {
        settings(&mut written.plan, found);
    }
    let context = linter.context(&document);
    find::sound(&context)?;
    let wanted = |name: &str| arguments.name.as_deref().is_none_or(|wanted| wanted == name);
    let plan = context.plans.iter().find(|plan| wanted(&plan.written.name)).ok_or_else(|| {
        let names: Vec<_> = context.plans.iter().map(|plan| format!("`{}`", plan.written.name)).collect();
        Failure::new(
            format_args!("`{}` has no plan of that name", path.display()),
            format_args!("it has {}", names.join(", ")),
        )
    })?;
    explain(&context, plan, found)
        .ok_or_else(|| Failure::new("the plan cannot be costed", "`memspec-lint check` says why"))
}
