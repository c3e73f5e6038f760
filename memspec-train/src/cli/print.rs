//! Printing that survives a reader who has gone: `memspec-train run plan.mem | head` must not cost the run.

use std::io::{ErrorKind, Write, stderr, stdout};

use super::failure::Failure;

/// Prints results to standard output. A closed pipe is the reader's choice, a full disk is an error.
pub(super) fn out(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output: {error}"), "print to a place that can be written"))
        }
        _ => Ok(()),
    }
}

/// Tells whoever watches, on standard error, if anyone does.
pub(super) fn note(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}
