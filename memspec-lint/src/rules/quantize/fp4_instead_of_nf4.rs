//! # fp4-instead-of-nf4 (QNT004)
//!
//! ## What it does
//! Finds bases packed as `fp4`.
//!
//! ## Why is this bad?
//! It takes the same memory as `nf4`, and loses more: weights are spread like a normal distribution, which NF4's sixteen values are made
//! for. FP4 is bitsandbytes' default, so it comes from configurations that do not name a type.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! quantize fp4 { }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { }
//! ```
//!
//! ## Fix safety
//! Unsafe: the base is rounded in another way.
//!
//! ## References
//! - <https://arxiv.org/abs/2305.14314> (table 2: NF4 and FP4 compared)

use memspec::plan::QuantizeKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.quantize.as_ref().is_some_and(|quantize| quantize.kind == QuantizeKind::Fp4))?;
        Some(
            Finding::new(rule, "4-bit floats lose more than NF4 in the same memory")
                .at(plan.written, "quantize", "")
                .help("use `quantize nf4`")
                .fix(context.set(plan, "quantize", "nf4", Applicability::Unsafe)),
        )
    })
}
