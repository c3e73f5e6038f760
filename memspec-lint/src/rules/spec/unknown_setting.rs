//! # unknown-setting (SPEC002)
//!
//! ## What it does
//! Finds settings that a block does not have, with the one that was probably meant: by its letters, by the block it
//! belongs to, or by the name that other trainers have for it.
//!
//! ## Why is this bad?
//! Trainers that let unknown settings pass run with the default instead, and the typo shows in the results, if at all.
//!
//! ## Example
//! ```mem
//! train { micro_bach = 1 }
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
