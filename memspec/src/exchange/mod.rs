//! Plans in other notations.

#[cfg(feature = "yaml")]
pub mod yaml;
