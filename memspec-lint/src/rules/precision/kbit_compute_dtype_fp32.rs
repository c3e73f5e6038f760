//! # kbit-compute-dtype-fp32 (PRE006)
//!
//! ## What it does
//! Finds packed weights that are unpacked to float32 (`compute = f32`) in a plan that computes in 16 bits.
//!
//! ## Why is this bad?
//! bitsandbytes then casts the inputs of every linear to float32 and multiplies there: slow, with larger temporaries, and nothing
//! says so. It is bitsandbytes' own default (`bnb_4bit_compute_dtype`), so it slips into recipes.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { compute = f32 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { compute = bf16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: products are computed in 16 bits then.
//!
//! ## References
//! - <https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2077>

use memspec::plan::{Float, Precision};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.train.precision != Precision::F32
                && setup.quantize.as_ref().is_some_and(|quantize| quantize.compute == Float::F32)
        })?;
        let better = match setup.train.precision {
            Precision::Fp16 | Precision::Fp16Pure => "fp16",
            _ => "bf16",
        };
        Some(
            Finding::new(rule, "packed weights are unpacked to float32 for every product")
                .at(plan.written, "quantize.compute", "the slow path")
                .help(format!("use `compute = {better}`, the training precision"))
                .fix(context.set(plan, "quantize.compute", better, Applicability::Unsafe)),
        )
    })
}
