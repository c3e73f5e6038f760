//! # out-of-range (SPEC027)
//!
//! ## What it does
//! Finds numbers below the least that makes sense.
//!
//! ## Why is this bad?
//! No run comes of it.
//!
//! ## Example
//! ```mem
//! train { micro_batch = 0 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = 1 }
//! ```

pub(crate) use crate::rules::mistakes as check;
