//! # no-plan (SPEC038)
//!
//! ## What it does
//! Finds files without a plan in them.
//!
//! ## Why is this bad?
//! Nothing in such a file is checked, so that a check of it says nothing.
//!
//! ## Example
//! ```mem
//! mem 1
//! ```
//!
//! ## Use instead
//! ```mem
//! mem 1
//!
//! plan "tiny" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = t4
//!   adapter lora { rank = 16 }
//! }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let document = context.document;
    if !document.plans.is_empty() || !document.problems.is_empty() {
        return Vec::new();
    }
    let first_line = document.source.text.find(['\r', '\n']).unwrap_or(document.source.text.len());
    let finding = Finding::new(rule, "there is no plan in this file")
        .label(0..first_line, "")
        .help("write one: `plan \"name\" { model = \"..\" }`");
    vec![finding]
}
