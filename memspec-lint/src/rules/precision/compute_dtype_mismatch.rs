//! # compute-dtype-mismatch (PRE007)
//!
//! ## What it does
//! Finds packed weights that are unpacked to another 16 bit type than the plan trains in.
//!
//! ## Why is this bad?
//! Every linear casts its input and its output, and where a module expects one type and gets the other, the step stops: "expected
//! scalar type Float but found Half".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { compute = fp16 }
//! train { precision = bf16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! quantize nf4 { compute = bf16 }
//! train { precision = bf16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: products are computed in another type.
//!
//! ## References
//! - <https://github.com/huggingface/alignment-handbook/issues/88>

use memspec::plan::{Float, Precision};
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (compute, training) = plan.find(|setup| mismatch(setup).is_some()).and_then(mismatch)?;
        Some(
            Finding::new(rule, format!("weights are unpacked to {compute}, and the step computes in {training}"))
                .at(plan.written, "quantize.compute", "is cast for every product")
                .at(plan.written, "train.precision", "")
                .help(format!("use `compute = {training}`, or leave it out"))
                .fix(context.set(plan, "quantize.compute", training.name(), Applicability::Unsafe)),
        )
    })
}

/// The type that weights are unpacked to and the one that a step computes in, where they are two of 16 bits.
fn mismatch(setup: &Setup) -> Option<(Float, Float)> {
    let training = match setup.train.precision {
        Precision::Bf16 | Precision::Bf16Pure => Float::Bf16,
        Precision::Fp16 | Precision::Fp16Pure => Float::Fp16,
        Precision::F32 => return None,
    };
    let compute = setup.quantize.as_ref()?.compute;
    // Float32, and bfloat16 where the card has none, are other rules'.
    let is_known = compute == Float::F32 || (compute == Float::Bf16 && !setup.device.bf16);
    (compute != training && !is_known).then_some((compute, training))
}
