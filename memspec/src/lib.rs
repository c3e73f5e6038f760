//! memspec
pub mod cost;
pub mod device;
pub mod model;
pub mod plan;
pub mod quantity;
pub mod setup;
