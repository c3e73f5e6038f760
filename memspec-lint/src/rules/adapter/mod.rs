//! Adapters.

pub mod unknown_target;
