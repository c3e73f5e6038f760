//! Plans in other notations.

pub mod foreign;
pub mod job;
#[cfg(feature = "yaml")]
pub mod yaml;
