//! The language server: `memspec-lint server`, over standard input and output.
//!
//! The main loop owns the open documents. A change of one is read at once, which takes a fraction of a millisecond; whatever needs estimates
//! is done by other threads on a `Snapshot`, with costs remembered by plan, so that typing in one plan costs that plan
//! and no other. Fixes are priced when they are shown.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `main_loop.rs` | messages in, replies out; a handler that panics is an error reply |
//! | `documents.rs` | the open texts, each with what was read of it |
//! | `positions.rs` | bytes to lines and columns, in UTF-8 or UTF-16 |
//! | `snapshot.rs` | what a handler sees |
//! | `diagnosing.rs` | diagnostics after a change: what is known within a moment, and the rest when it is |
//! | `outbox.rs` | the way to the client |
//! | `memo.rs` | costs by plan |
//! | `workers.rs` | threads |
//! | `cursor.rs` | what stands around a place of a text, whatever its mistakes |
//! | `names.rs` | definitions of a text and what refers to them |
//! | `handlers/` | one request a file |

mod capabilities;
mod cursor;
mod diagnosing;
mod documents;
mod handlers;
mod main_loop;
mod memo;
mod names;
mod options;
mod outbox;
mod positions;
mod snapshot;
mod workers;

pub use documents::apply_changes;
pub use main_loop::run;
pub use positions::{Encoding, Lines};

use std::io;

use lsp_server::Connection;

/// Serves one editor over standard input and output, until it says goodbye.
///
/// # Errors
/// A client that does not keep to the protocol, or that is gone.
pub fn stdio() -> io::Result<()> {
    let (connection, threads) = Connection::stdio();
    let served = run(&connection, crate::here());
    drop(connection);
    threads.join()?;
    served.map_err(io::Error::other)
}
