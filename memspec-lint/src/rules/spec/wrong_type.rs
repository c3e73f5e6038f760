//! # wrong-type (SPEC024)
//!
//! ## What it does
//! Finds values of another type than the setting takes.
//!
//! ## Why is this bad?
//! The setting would have its default instead.
//!
//! ## Example
//! ```mem
//! train { micro_batch = 1.5 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = 1 }
//! ```

pub(crate) use crate::rules::mistakes as check;
