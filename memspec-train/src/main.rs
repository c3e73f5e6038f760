//! The `memspec-train` command.

use std::process::ExitCode;

use memspec_train::monitor::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    memspec_train::cli::main()
}
