//! The rules, one a file. The comment at the top of a rule's file is its page: `memspec-lint explain` prints it, and the
//! tests lint its examples.

pub mod adapter;
pub mod attention;
pub mod batch;
pub mod checkpointing;
pub mod data;
pub mod evaluation;
pub mod hardware;
pub mod memory;
pub mod model;
pub mod optimizer;
pub mod parallel;
pub mod precision;
pub mod quantize;
pub mod spec;

use crate::context::Context;
use crate::diagnostic::{self, Finding};
use crate::registry::Rule;

/// The mistakes of the text whose code is the rule's name.
pub(crate) fn mistakes(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    diagnostic::from_problems(context.document).into_iter().filter(|finding| finding.rule == rule.name).collect()
}
