//! `memspec-lint server`.

use clap::Args;

use super::{Failure, Outcome};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Taken and ignored: many editors pass it, and there is no other way to talk
    #[arg(long)]
    stdio: bool,
}

pub(super) fn run(_: &Arguments) -> Result<Outcome, Failure> {
    let served = crate::server::stdio();
    served
        .map(|()| Outcome::Clean)
        .map_err(|error| Failure::new(error, "an editor starts the server and talks to it: see docs/editors.md"))
}
