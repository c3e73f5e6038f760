//! # unknown-unit (SPEC026)
//!
//! ## What it does
//! Finds units that do not exist. `B` is none: `8B` must not mean eight bytes in a file about models of 8 billion
//! parameters.
//!
//! ## Why is this bad?
//! A number without its unit is a guess.
//!
//! ## Example
//! ```mem
//! budget { device_memory <= 12Gib }
//! ```
//!
//! ## Use instead
//! ```mem
//! budget { device_memory <= 12GiB }
//! ```
//!
//! ## Fix safety
//! Safe: the value as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
