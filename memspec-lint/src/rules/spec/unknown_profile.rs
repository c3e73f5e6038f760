//! # unknown-profile (SPEC041)
//!
//! ## What it does
//! Finds names behind `extends` that no profile has, here or in the file that they are looked for in.
//!
//! ## Why is this bad?
//! The plan would be another without what it should get from there.
//!
//! ## Example
//! ```mem
//! profile small { data { context = 512tok } }
//!
//! plan "run" extends smal {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! profile small { data { context = 512tok } }
//!
//! plan "run" extends small {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Fix safety
//! Safe: nothing is extended as it is written.

pub(crate) use crate::rules::mistakes as check;
