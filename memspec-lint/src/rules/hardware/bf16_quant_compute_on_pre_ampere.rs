//! # bf16-quant-compute-on-pre-ampere (HW002)
//!
//! ## What it does
//! Finds packed weights that are to be unpacked to bfloat16 (`quantize { compute = bf16 }`) on a GPU older than Ampere.
//!
//! ## Why is this bad?
//! It is bfloat16 on a card without it, one level deeper than `precision`: every product of a packed weight is emulated, or stops
//! with an error. The line comes with recipes that were written for newer cards.
//!
//! ## Example
//! ```mem
//! device = t4
//! engine = trl
//! quantize nf4 { compute = bf16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! engine = trl
//! quantize nf4 { compute = fp16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: float16 has a smaller range.
//!
//! ## References
//! - <https://github.com/dbpedia/neural-extraction-framework/pull/54>
//! - <https://github.com/unslothai/unsloth/issues/2783>

use memspec::device::DeviceKind;
use memspec::plan::Float;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.device.kind == DeviceKind::Cuda
                && !setup.device.bf16
                && setup.quantize.as_ref().is_some_and(|quantize| quantize.compute == Float::Bf16)
        })?;
        let finding = Finding::new(rule, format!("{} has no bfloat16 to unpack weights to", setup.device.title))
            .at(plan.written, "quantize.compute", "needs Ampere or newer")
            .help("use `compute = fp16`, or leave it out: it is the training precision then");
        plan.says("quantize.compute")
            .then(|| finding.fix(context.set(plan, "quantize.compute", "fp16", Applicability::Unsafe)))
    })
}
