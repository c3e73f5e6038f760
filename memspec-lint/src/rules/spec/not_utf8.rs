//! # not-utf8 (SPEC036)
//!
//! ## What it does
//! Finds files that are not UTF-8 text.
//!
//! ## Why is this bad?
//! Paths and names with other bytes in them would not be found.

pub(crate) use crate::rules::mistakes as check;
