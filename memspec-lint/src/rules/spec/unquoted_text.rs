//! # unquoted-text (SPEC023)
//!
//! ## What it does
//! Finds paths and text without quotes.
//!
//! ## Why is this bad?
//! A bare word is a word of the language or a name that the file defines.
//!
//! ## Example
//! ```mem
//! output = adapter
//! ```
//!
//! ## Use instead
//! ```mem
//! output = "adapter"
//! ```
//!
//! ## Fix safety
//! Safe: the same text in quotes.

pub(crate) use crate::rules::mistakes as check;
