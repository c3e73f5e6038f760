//! The command `memspec-lint`.

mod accuracy;
mod check;
mod completions;
mod convert;
mod diagnose;
mod estimate;
mod explain;
mod file;
mod find;
mod fmt;
mod max;
mod notes;
mod open;
mod recognize;
mod resolve;
mod rules;
mod server;
mod suggest;
mod tables;
mod what_if;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::output::Style;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "memspec-lint", version, about = "Checks fine-tuning plans before they run", after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  memspec-lint check                      every plan and trainer's file below this folder
  memspec-lint check train.mem --fix      repair what can be repaired without changing the training
  memspec-lint check --diff               show what --fix would do
  memspec-lint fmt                        lay out every .mem file below this folder
  memspec-lint estimate train.mem         the peak, what it is made of, how long it trains
  memspec-lint what-if train.mem          every single change, its saving and its price
  memspec-lint max context train.mem      the longest samples that fit
  memspec-lint convert sft.yaml --to mem  another trainer's file as a plan, and back
  memspec-lint resolve train.mem          the plan with every `fit` and `sweep` decided, and why
  memspec-lint suggest --model meta-llama/Meta-Llama-3-8B --device t4
  memspec-lint diagnose run.log train.mem which allocation a run died of, and what would have saved it
  memspec-lint accuracy rows.jsonl        predictions beside measured runs
  memspec-lint explain peak-over-budget   what a rule finds, and why

Exit codes: 0 clean, 1 findings, 2 could not run";

#[derive(Debug, Subcommand)]
enum Command {
    /// Finds what is wrong with plans, and repairs it
    #[command(after_help = check::EXAMPLES)]
    Check(check::Arguments),
    /// Lays plans out in the one style
    #[command(after_help = fmt::EXAMPLES)]
    Fmt(fmt::Arguments),
    /// Says what a plan takes in memory, time and money, and what each setting costs
    #[command(after_help = estimate::EXAMPLES)]
    Estimate(estimate::Arguments),
    /// Says every single change to a plan, what it saves and what it costs
    #[command(after_help = what_if::EXAMPLES)]
    WhatIf(what_if::Arguments),
    /// Turns a plan into another trainer's file, and such a file into a plan
    #[command(after_help = convert::EXAMPLES)]
    Convert(convert::Arguments),
    /// Finds the largest context or micro batch that fits
    #[command(after_help = max::EXAMPLES)]
    Max(max::Arguments),
    /// Prints a plan with every choice made, and why nothing before it was chosen
    #[command(after_help = resolve::EXAMPLES)]
    Resolve(resolve::Arguments),
    /// Writes plans that fit, for a model and a device or a monthly sum
    #[command(after_help = suggest::EXAMPLES)]
    Suggest(suggest::Arguments),
    /// Computes the tables of the guide that started the project, beside its claims
    #[command(after_help = tables::EXAMPLES)]
    Tables(tables::Arguments),
    /// Predicts measured runs, and says how far off it is
    #[command(after_help = accuracy::EXAMPLES)]
    Accuracy(accuracy::Arguments),
    /// Says why a run died of memory, from its log
    #[command(after_help = diagnose::EXAMPLES)]
    Diagnose(diagnose::Arguments),
    /// Prints a rule's page
    Explain(explain::Arguments),
    /// Lists every rule
    Rules(rules::Arguments),
    /// Serves an editor over standard input and output
    Server(server::Arguments),
    /// Prints a shell's completions
    Completions(completions::Arguments),
}

/// What a command ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clean,
    Findings,
}

/// Why a command could not run: the whole text for standard error.
struct Failure(String);

impl Failure {
    /// A sentence, and what to do.
    fn new(what: impl std::fmt::Display, help: impl std::fmt::Display) -> Self {
        Failure(format!("error: {what}\n  help: {help}\n"))
    }
}

/// Runs the command that this process's arguments ask for.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let style = Style::of_stdout();
    let outcome = match cli.command {
        Command::Check(arguments) => check::run(&arguments, style),
        Command::Fmt(arguments) => fmt::run(&arguments, style),
        Command::Estimate(arguments) => estimate::run(&arguments, style),
        Command::WhatIf(arguments) => what_if::run(&arguments, style),
        Command::Convert(arguments) => convert::run(&arguments),
        Command::Max(arguments) => max::run(&arguments, style),
        Command::Resolve(arguments) => resolve::run(&arguments),
        Command::Suggest(arguments) => suggest::run(&arguments, style),
        Command::Tables(arguments) => tables::run(&arguments),
        Command::Accuracy(arguments) => accuracy::run(&arguments, style),
        Command::Diagnose(arguments) => diagnose::run(&arguments, style),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Rules(arguments) => rules::run(&arguments),
        Command::Server(arguments) => server::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    match outcome {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(Failure(text)) => {
            eprint(&text);
            ExitCode::from(2)
        }
    }
}

/// Prints all of a command's result. A reader that closed the pipe has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format_args!("cannot write the result: {error}"), "is the disk full?"))
        }
        _ => Ok(()),
    }
}

/// Prints beside the result.
fn eprint(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::new(error, "please report this"))?;
    print(&(text + "\n"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
