//! # edition (SPEC034)
//!
//! ## What it does
//! Finds a first line `mem N` with an edition that this version does not read.
//!
//! ## Why is this bad?
//! What the file says may mean something else in its edition.
//!
//! ## Example
//! ```mem
//! mem 9
//!
//! plan "later" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! mem 1
//!
//! plan "now" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: the file may mean something else in its edition.

pub(crate) use crate::rules::mistakes as check;
