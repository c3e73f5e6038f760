//! Models.

pub mod unknown_model;
