//! `memspec-lint estimate`.

use std::path::{Path, PathBuf};

use clap::Args;
use memspec::cost::inference;
use memspec::device::HourlyPrice;
use memspec::exchange::foreign::{Note, NoteKind};
use memspec::solve::{Resolved, changes, what_if};

use super::notes::list;
use super::open::{OnDevice, Opener};
use super::{Failure, Outcome, eprint, file, find, print, print_json};
use crate::cards::Cards;
use crate::context::Context;
use crate::output::Style;
use crate::output::estimate::{Estimates, PlanEstimate, WhatIf, table};
use crate::output::html::{Section, page};

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint estimate train.mem
  memspec-lint estimate train.mem --json | jq '.plans[0].peak.process'
  memspec-lint estimate train.mem --price 1.99usd/h
  memspec-lint estimate train.mem --device rtx4090
  memspec-lint estimate train.mem --html train.html what is alive when, as a page that needs nothing else
  memspec-lint estimate - < train.mem
  memspec-lint estimate sft.yaml                    a file of `trl sft --config`

Exit codes: 0 estimated, whether it fits or not; 2 could not be estimated";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The plan file; - is standard input
    plan: PathBuf,
    #[command(flatten)]
    on: OnDevice,
    /// How the estimate is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    output_format: Format,
    /// Short for --output-format json
    #[arg(long, conflicts_with = "output_format")]
    json: bool,
    /// What an hour of all its devices costs, in place of the catalog's price: 1.99usd/h
    #[arg(long, value_name = "PRICE")]
    price: Option<HourlyPrice>,
    /// Also writes a page to look at or to pass on, with the run's memory as a picture: one file, which needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How an estimate is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// As a table
    #[default]
    Full,
    /// For programs
    Json,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let (linter, document) = Opener::new(&arguments.on)?.open(&arguments.plan)?;
    let context = linter.context(&document);

    find::sound(&context)?;
    if let Some(foreign) = &document.foreign {
        let matter = |note: &&Note| note.kind != NoteKind::Aside;
        let notes: Vec<Note> = foreign.notes.iter().filter(matter).cloned().collect();
        eprint(&list(&notes, &document.source));
    }

    let costed: Vec<(&Resolved, PlanEstimate)> = context
        .plans
        .iter()
        .flat_map(|plan| plan.setups.iter())
        .filter_map(|one| {
            let (resolved, estimate) = (&one.resolved, one.estimate().ok()?);
            let changes = changes(resolved, context.base, context.environment);
            let time = one.time.clone().map(|time| match arguments.price {
                Some(price) => time.at(price),
                None => time,
            });
            let plan = PlanEstimate::new(estimate, &resolved.chosen, &changes);
            let setup = &resolved.setup;
            let serve = setup.serve.map(|serve| inference(&setup.model, &serve, &setup.device));
            let cards = Cards::of(&resolved.plan, setup, estimate, context.base, context.environment);
            Some((resolved, plan.timed(time, setup).served(serve, setup.device.usable).on_cards(cards)))
        })
        .collect();
    if let Some(path) = &arguments.html {
        write_page(path, &context, &costed)?;
    }
    let plans: Vec<PlanEstimate> = costed.into_iter().map(|(_, plan)| plan).collect();
    if arguments.json || arguments.output_format == Format::Json {
        print_json(&Estimates { plans })?;
    } else {
        print(&plans.iter().map(|plan| table(plan, style)).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(Outcome::Clean)
}

/// Writes the page of all plans.
fn write_page(path: &Path, context: &Context<'_>, costed: &[(&Resolved, PlanEstimate)]) -> Result<(), Failure> {
    if find::is_plan(path) {
        return Err(Failure::new(
            format_args!("`--html {}` would overwrite a plan", path.display()),
            "give the page a name of its own, as in `--html report.html`",
        ));
    }
    let section = |(resolved, plan)| {
        let resolved: &Resolved = resolved;
        let changes = what_if(resolved, context.base, context.environment);
        Section { plan, setup: &resolved.setup, changes: changes.iter().map(WhatIf::from).collect() }
    };
    let sections: Vec<Section<'_>> = costed.iter().map(|(resolved, plan)| section((resolved, plan))).collect();
    let source = &context.document.source;
    let text = page(&source.name, &source.text, &sections)
        .map_err(|error| Failure::new(format_args!("cannot make the page: {error}"), "please report this"))?;
    file::create(path, &text)?;
    eprint(&format!("wrote {}\n", path.display()));
    Ok(())
}
