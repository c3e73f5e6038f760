//! # not-supported (SPEC035)
//!
//! ## What it does
//! Finds choices where one value is needed: a `let` that is a `fit` or `sweep`, and lists, limits or choices that follow from
//! another choice.
//!
//! ## Why is this bad?
//! The plan would be another without them.
//!
//! ## Example
//! ```mem
//! let batch = fit [4, 2, 1]
//!
//! plan "of-a-let" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//!   train { micro_batch = batch }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = fit [4, 2, 1] }
//! ```

pub(crate) use crate::rules::mistakes as check;
