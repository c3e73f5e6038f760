//! # duplicate-setting (SPEC003)
//!
//! ## What it does
//! Finds a setting or block that stands twice.
//!
//! ## Why is this bad?
//! The first one counts here, the last one in most YAML readers: whoever reads the file has to know which.
//!
//! ## Example
//! ```mem
//! train {
//!   micro_batch = 1
//!   micro_batch = 2
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = fit [2, 1] }
//! ```

pub(crate) use crate::rules::mistakes as check;
