//! # circular (SPEC043)
//!
//! ## What it does
//! Finds settings that are computed from themselves, directly or through others, and profiles that extend themselves.
//!
//! ## Why is this bad?
//! There is no such value.
//!
//! ## Example
//! ```mem
//! train {
//!   micro_batch = 16 / accumulate
//!   accumulate  = 16 / micro_batch
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! train {
//!   micro_batch = 4
//!   accumulate  = 16 / micro_batch
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
