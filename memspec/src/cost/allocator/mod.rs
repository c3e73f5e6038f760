//! Models of the allocators that engines take memory from.

pub mod caching;
mod free;
