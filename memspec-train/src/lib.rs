//! memspec-train

pub mod checkpoint;
pub mod quantize;
