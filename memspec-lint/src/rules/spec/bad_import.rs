//! # bad-import (SPEC040)
//!
//! ## What it does
//! Finds imports that give nothing or not all: of a file that is not there, that lies outside of the project (the nearest folder above
//! with a `memspec.toml` or `.git`), that is no `.mem` file, that imports its importer, or that has mistakes itself.
//!
//! ## Why is this bad?
//! The plan would be another without what it should get from there.
//!
//! ## Example
//! ```mem
//! import "not-there.mem" as base
//!
//! plan "run" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "run" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
