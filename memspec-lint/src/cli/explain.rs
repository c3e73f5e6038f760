//! `memspec-lint explain`.

use clap::Args;

use super::{Failure, Outcome, print};
use crate::registry;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// A rule's code or name: MEM001, peak-over-budget
    rule: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    match registry::find(&arguments.rule) {
        Some(rule) => {
            print(&(rule.page() + "\n"))?;
            Ok(Outcome::Clean)
        }
        None => {
            let what = format!("there is no rule `{}`", arguments.rule);
            Err(match registry::nearest(&arguments.rule) {
                Some(rule) => Failure::new(what, format_args!("did you mean `{}` ({})?", rule.name, rule.code)),
                None => Failure::new(what, "`memspec-lint rules` lists them all"),
            })
        }
    }
}
