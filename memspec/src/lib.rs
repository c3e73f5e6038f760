//! memspec: what a fine-tuning plan is, and what it costs.

pub mod device;
pub mod model;
pub mod plan;
pub mod quantity;
