//! Samples: files, lengths and context.

pub mod context_beyond_positions;
pub mod data_file_empty;
pub mod data_file_missing;
pub mod pad_to_max_length;
pub mod seq_shorter_than_data;
