//! # quoted-symbol (SPEC022)
//!
//! ## What it does
//! Finds words of the language in quotes.
//!
//! ## Why is this bad?
//! Quotes are for paths, names and text; words of the language are checked, completed and explained.
//!
//! ## Example
//! ```mem
//! train { precision = "fp16" }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { precision = fp16 }
//! ```
//!
//! ## Fix safety
//! Safe: the same word without quotes.

pub(crate) use crate::rules::mistakes as check;
