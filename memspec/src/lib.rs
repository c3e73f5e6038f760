#![cfg_attr(feature = "lang", doc = include_str!("../README.md"))]
#![cfg_attr(not(feature = "lang"), doc = "What a fine-tuning plan is, and what it costs in memory before it runs.")]

pub mod cost;
pub mod device;
pub mod exchange;
#[cfg(feature = "lang")]
pub mod lang;
pub mod model;
pub mod plan;
pub mod quantity;
pub mod setup;
pub mod solve;
