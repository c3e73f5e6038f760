//! # unknown-block (SPEC017)
//!
//! ## What it does
//! Finds blocks that a plan does not have.
//!
//! ## Why is this bad?
//! Its settings would have no effect.
//!
//! ## Example
//! ```mem
//! sevre { concurrency = 4 }
//! ```
//!
//! ## Use instead
//! ```mem
//! serve { concurrency = 4 }
//! ```
//!
//! ## Fix safety
//! Safe: the block as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
