//! # no-grad-clip-fp16 (OPT004)
//!
//! ## What it does
//! Finds `fp16` with `clip = 0`.
//!
//! ## Why is this bad?
//! Loss scaling leaves a step out when a gradient overflows, but not when it is merely huge: one bad batch can undo much of what was
//! learnt. Clipping costs next to nothing.
//!
//! ## Example
//! ```mem
//! device = t4
//! train { precision = fp16; clip = 0 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! train { precision = fp16; clip = 1.0 }
//! ```
//!
//! ## Fix safety
//! Unsafe: large gradients are scaled down.
//!
//! ## References
//! - <https://docs.pytorch.org/docs/stable/notes/amp_examples.html#gradient-clipping>

use memspec::plan::Precision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            matches!(setup.train.precision, Precision::Fp16 | Precision::Fp16Pure) && setup.train.clip == 0.0
        })?;
        Some(
            Finding::new(rule, "float16 gradients are not clipped")
                .at(plan.written, "train.clip", "never scaled down")
                .help("use `clip = 1.0`")
                .fix(context.set(plan, "train.clip", "1.0", Applicability::Unsafe)),
        )
    })
}
