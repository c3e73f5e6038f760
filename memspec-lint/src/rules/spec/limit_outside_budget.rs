//! # limit-outside-budget (SPEC029)
//!
//! ## What it does
//! Finds comparisons where a value is wanted.
//!
//! ## Why is this bad?
//! Limits stand in `budget`; elsewhere a setting has one value, or several to choose from.
//!
//! ## Example
//! ```mem
//! train { micro_batch <= 1 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = 1 }
//! ```
//!
//! ## Fix safety
//! Safe: the setting as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
