//! Models of the allocators that engines take memory from.

pub mod caching;
mod expandable;
mod free;
