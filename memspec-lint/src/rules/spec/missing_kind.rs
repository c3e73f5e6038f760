//! # missing-kind (SPEC019)
//!
//! ## What it does
//! Finds blocks that need a kind and have none.
//!
//! ## Why is this bad?
//! What the block does depends on its kind.
//!
//! ## Example
//! ```mem
//! quantize { double = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! quantize nf4 { double = true }
//! ```

pub(crate) use crate::rules::mistakes as check;
