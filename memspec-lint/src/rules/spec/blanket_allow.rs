//! # blanket-allow (SPEC013)
//!
//! ## What it does
//! Finds comments that allow findings without naming any.
//!
//! ## Why is this bad?
//! `# memspec: allow()` allows nothing, and whoever wrote it believes that it does. There is no form that allows everything.
//!
//! ## Example
//! ```mem
//! # memspec: allow() this is fine
//! device = t4
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! ```
//!
//! ## Fix safety
//! Safe: it removes a comment without effect.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Fix;
use crate::registry::Rule;
use crate::suppress;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let document = context.document;
    let blanket = document.allows.iter().filter(|allow| allow.names.is_empty());
    blanket
        .map(|allow| {
            Finding::new(rule, "this comment names no finding, so it allows none")
                .label(allow.span.clone(), "which one?")
                .help("name it: `# memspec: allow(thin-headroom) why`")
                .fix(Fix::safe("remove the comment", vec![suppress::without_comment(document, allow)]))
        })
        .collect()
}
