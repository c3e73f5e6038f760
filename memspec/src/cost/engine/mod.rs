//! Engines: whose allocations are replayed. One file each.

pub mod memspec;
pub mod trl;
