//! What a fine-tuning plan is, and what it costs.
//!
//! A plan is text: which model, on which device, trained how, within which budget. This crate reads it into a typed
//! [`plan::Plan`] whose every setting knows where it was written, and reports every mistake with its place and its repair.
//!
//! ```
//! # #[cfg(feature = "lang")] {
//! let document = memspec::plan::read_text(
//!     "tiny.mem",
//!     r#"
//!     plan "tiny" {
//!       model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!       device = cpu
//!       adapter lora { rank = 16 }
//!       train { micro_batch = fit [4, 2, 1] }
//!     }
//!     "#,
//! );
//! assert!(document.problems.is_empty());
//! let plan = &document.plans[0].plan;
//! assert_eq!(plan.adapter.as_ref().unwrap().rank, Some(16.into()));
//! # }
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`quantity`] | bytes, tokens, durations, money: numbers that know their unit |
//! | [`plan`] | the typed plan, the table of every block and setting, reading a plan from a file |
//! | `lang` | the `.mem` language: a total lexer and parser, and the lowering to a plan |
//! | `exchange` | the same plan as YAML or JSON |
//!
//! Features: `lang`, `yaml`, `schema` (JSON schemas), `report` (miette diagnostics). All are on by default; without
//! them the crate is plans built in code.

pub mod cost;
pub mod device;
pub mod exchange;
#[cfg(feature = "lang")]
pub mod lang;
pub mod model;
pub mod plan;
pub mod quantity;
pub mod setup;
pub mod solve;
