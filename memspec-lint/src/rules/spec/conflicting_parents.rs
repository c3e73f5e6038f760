//! # conflicting-parents (SPEC042)
//!
//! ## What it does
//! Finds plans that extend two profiles which give a setting different values, where the plan does not give its own.
//!
//! ## Why is this bad?
//! Which of them wins would depend on the order of names, and a change of one profile would change the plan or not, unseen.
//!
//! ## Example
//! ```mem
//! profile small { data { context = 512tok } }
//! profile long { data { context = 1024tok } }
//!
//! plan "run" extends small, long {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! profile small { data { context = 512tok } }
//! profile long { data { context = 1024tok } }
//!
//! plan "run" extends small, long {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//!   data { context = 1024tok }
//! }
//! ```

pub(crate) use crate::rules::mistakes as check;
