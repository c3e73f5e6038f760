//! # allow-without-reason (SPEC039)
//!
//! ## What it does
//! Finds comments that allow a finding and do not say why.
//!
//! ## Why is this bad?
//! Who comes later cannot tell whether the reason still holds.
//!
//! ## Example
//! ```mem
//! # memspec: allow(bf16-on-pre-ampere)
//! train { precision = bf16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! # memspec: allow(bf16-on-pre-ampere) only to be compared with
//! train { precision = bf16 }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let unexplained = context.document.allows.iter().filter(|allow| allow.reason.is_empty() && !allow.names.is_empty());
    unexplained
        .map(|allow| {
            Finding::new(rule, "this comment does not say why it allows what it allows")
                .label(allow.span.clone(), "why?")
                .help("write the reason behind it")
        })
        .collect()
}
