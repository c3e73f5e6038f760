//! # syntax (SPEC001)
//!
//! ## What it does
//! Finds text that is no `.mem`, YAML or JSON: a missing value, a bracket that is not closed, a stray character.
//! Reading goes on behind it, so every mistake is reported at once.
//!
//! ## Why is this bad?
//! What stands at a mistake is left out of the plan, and the plan is not costed until it is repaired.
//!
//! ## Example
//! ```mem
//! train { micro_batch = }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = 1 }
//! ```

pub(crate) use crate::rules::mistakes as check;
