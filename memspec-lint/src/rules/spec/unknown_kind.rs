//! # unknown-kind (SPEC018)
//!
//! ## What it does
//! Finds a kind that a block does not have: `quantize nf5 { }`.
//!
//! ## Why is this bad?
//! What the block does depends on its kind.
//!
//! ## Example
//! ```mem
//! quantize nf5 { double = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! quantize nf4 { double = true }
//! ```
//!
//! ## Fix safety
//! Safe: the block as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
