//! The `memspec-train` command.

use std::process::ExitCode;

use memspec_train::monitor::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    #[cfg(unix)]
    report_files_that_may_not_grow();
    memspec_train::cli::main()
}

/// A file at the shell's limit (`ulimit -f`) is an error to report, as a full disk is; by itself it would end the process.
#[cfg(unix)]
fn report_files_that_may_not_grow() {
    // SAFETY: to ignore a signal installs no code.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}
