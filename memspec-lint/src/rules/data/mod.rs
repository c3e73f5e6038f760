//! Samples: files and context.

pub mod context_beyond_positions;
pub mod data_file_empty;
pub mod data_file_missing;
