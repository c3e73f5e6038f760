//! Plans in other notations.

pub mod job;
#[cfg(feature = "yaml")]
pub mod yaml;
