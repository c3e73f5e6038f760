//! # unused-allow (SPEC012)
//!
//! ## What it does
//! Finds comments that allow a finding which is not there: the rule finds nothing on the comment's line or the one below
//! it, the name is no rule's, or the finding cannot be allowed.
//!
//! ## Why is this bad?
//! A comment that silences nothing today hides a real finding tomorrow.
//!
//! ## Example
//! ```mem
//! # memspec: allow(bf16-on-pre-ampere) we have tried it
//! train { precision = fp16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! # memspec: allow(bf16-on-pre-ampere) we have tried it
//! train { precision = bf16 }
//! ```
//!
//! ## Fix safety
//! Safe: it removes the comment, or the name from it.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Whether a comment is used is known when every rule has run: `crate::suppress` makes these findings.
pub(crate) fn check(_: &Rule, _: &Context<'_>) -> Vec<Finding> {
    Vec::new()
}
