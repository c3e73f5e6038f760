//! The command `memspec-lint`.

use std::process::ExitCode;

fn main() -> ExitCode {
    memspec_lint::cli::run()
}
