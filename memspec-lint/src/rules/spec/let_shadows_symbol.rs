//! # let-shadows-symbol (SPEC032)
//!
//! ## What it does
//! Finds a `let` with the name of a word of the language.
//!
//! ## Why is this bad?
//! The word would mean one thing in one file and another in the next.
//!
//! ## Example
//! ```mem
//! let nf4 = 4
//!
//! plan "shadow" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! let bits = 4
//!
//! plan "no-shadow" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
