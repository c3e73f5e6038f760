//! # unknown-name (SPEC031)
//!
//! ## What it does
//! Finds names in a calculation that the file does not define with `let`, and settings that it cannot use.
//!
//! ## Why is this bad?
//! The value cannot be computed.
//!
//! ## Example
//! ```mem
//! train { micro_batch = batch / 2 }
//! ```
//!
//! ## Use instead
//! ```mem
//! let batch = 2
//!
//! plan "with-let" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//!   train { micro_batch = batch / 2 }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
