//! # unknown-symbol (SPEC021)
//!
//! ## What it does
//! Finds words that a setting does not take.
//!
//! ## Why is this bad?
//! The setting would have its default instead.
//!
//! ## Example
//! ```mem
//! train { precision = fp61 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { precision = fp16 }
//! ```
//!
//! ## Fix safety
//! Safe: the setting as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
