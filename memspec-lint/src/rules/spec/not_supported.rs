//! # not-supported (SPEC035)
//!
//! ## What it does
//! Finds parts of the language that this version does not read yet: `import`, `profile`, `extends`, `assert`.
//!
//! ## Why is this bad?
//! The plan would be another without them.
//!
//! ## Example
//! ```mem
//! import "base.mem" as base
//!
//! plan "imports" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "alone" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
