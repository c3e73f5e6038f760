//! `memspec-lint fmt`.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use memspec::lang;

use super::{Failure, Outcome, file, find, print};
use crate::output::Style;

pub(super) const EXAMPLES: &str = "\
Examples:
  memspec-lint fmt                    every .mem file below this folder
  memspec-lint fmt --check plans/     say which files are not in the style, and change nothing
  memspec-lint fmt --diff train.mem   show what would change
  memspec-lint fmt - < train.mem      from standard input to standard output

There are no options of style. Items with a mistake in their syntax stay as they are.

Exit codes: 0 done, or all is in the style; 1 with --check or --diff: some file is not; 2 could not run";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Plan files, and folders to search for .mem files; `-`: standard input
    #[arg(default_value = ".")]
    paths: Vec<PathBuf>,
    /// Change nothing, and say which files are not in the style
    #[arg(long)]
    check: bool,
    /// Change nothing, and show what would change
    #[arg(long, conflicts_with = "check")]
    diff: bool,
}

pub(super) fn run(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    if arguments.paths == [PathBuf::from("-")] {
        return standard_input(arguments, style);
    }
    let (mut text, mut changed, mut files) = (String::new(), 0, 0);
    for path in find::plans(&arguments.paths, find::Wanted::Mem)? {
        if path.extension().is_none_or(|extension| extension != "mem") {
            return Err(Failure::new(
                format_args!("`{}` is not in the language", path.display()),
                "fmt lays out .mem files; a .yaml or .json file has its own tools",
            ));
        }
        files += 1;
        let before = file::read(&path)?;
        let after = lang::format(&before);
        if before == after {
            continue;
        }
        changed += 1;
        let name = path.display().to_string();
        if arguments.diff {
            text += &file::diff(&name, &before, &after, style);
        } else if arguments.check {
            text += &format!("{name}\n");
        } else {
            file::write(&path, &after)?;
        }
    }
    let plural = if files == 1 { "file" } else { "files" };
    text += &match (changed, arguments.check || arguments.diff) {
        (0, _) => format!("{files} {plural}: all in the style\n"),
        (changed, true) => format!("{changed} of {files} {plural} would change\n"),
        (changed, false) => format!("{changed} of {files} {plural} changed\n"),
    };
    print(&text)?;
    Ok(outcome(arguments, changed > 0))
}

fn standard_input(arguments: &Arguments, style: Style) -> Result<Outcome, Failure> {
    let mut before = String::new();
    std::io::stdin().read_to_string(&mut before).map_err(|error| {
        Failure::new(format_args!("cannot read standard input: {error}"), "it has to be a plan as UTF-8 text")
    })?;
    let after = lang::format(&before);
    if arguments.diff {
        print(&file::diff("standard input", &before, &after, style))?;
    } else if !arguments.check {
        print(&after)?;
    }
    Ok(outcome(arguments, before != after))
}

fn outcome(arguments: &Arguments, changed: bool) -> Outcome {
    if changed && (arguments.check || arguments.diff) { Outcome::Findings } else { Outcome::Clean }
}
