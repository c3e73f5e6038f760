//! Attention, and samples in one row.

pub mod eager_attention;
pub mod packing_with_images;
pub mod packing_without_varlen_attention;
pub mod padding_free_batch_one;
pub mod serve_context_beyond_positions;
