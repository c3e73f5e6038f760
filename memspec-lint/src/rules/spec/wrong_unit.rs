//! # wrong-unit (SPEC025)
//!
//! ## What it does
//! Finds quantities of another dimension than the setting takes: hours where tokens are counted.
//!
//! ## Why is this bad?
//! Units are there to be checked.
//!
//! ## Example
//! ```mem
//! data { context = 512MiB }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok }
//! ```

pub(crate) use crate::rules::mistakes as check;
