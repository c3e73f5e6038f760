//! # not-a-limit (SPEC028)
//!
//! ## What it does
//! Finds settings of the budget that are written with `=`, or compared with `==`.
//!
//! ## Why is this bad?
//! A budget says what a figure may be at most: `device_memory <= 14.5GiB`.
//!
//! ## Example
//! ```mem
//! budget { device_memory = 12GiB }
//! ```
//!
//! ## Use instead
//! ```mem
//! budget { device_memory <= 12GiB }
//! ```
//!
//! ## Fix safety
//! Safe: the limit as it is written has no effect.

pub(crate) use crate::rules::mistakes as check;
