//! # duplicate-plan (SPEC033)
//!
//! ## What it does
//! Finds two plans of one name in a file.
//!
//! ## Why is this bad?
//! A plan is asked for by its name.
//!
//! ## Example
//! ```mem
//! plan "same" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//!
//! plan "same" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 8 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "one" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//!
//! plan "other" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 8 }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
