//! # fp8-unsupported-gpu (HW007)
//!
//! ## What it does
//! Finds serving with 8 bit float weights (`serve { precision = f8 }`) on a card without 8 bit float matrix units: those before Ada.
//!
//! ## Why is this bad?
//! There the weights are unpacked to 16 bits for every product: memory is saved, and none of the speed that fp8 is chosen for.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! serve { precision = f8 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! serve { precision = f8 }
//! ```
//!
//! ## References
//! - <https://docs.vllm.ai/en/stable/features/quantization/fp8/> (from compute capability 8.9 on; below, weights only)

use memspec::device::DeviceKind;
use memspec::plan::ServePrecision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.setups().find(|setup| {
            setup.device.kind != DeviceKind::Cpu
                && !setup.device.fp8
                && setup.serve.as_ref().is_some_and(|serve| serve.precision == ServePrecision::F8)
        })?;
        Some(
            Finding::new(rule, format!("{} has no 8 bit float units", setup.device.title))
                .at(plan.written, "serve.precision", "is unpacked to 16 bits for each product")
                .at(plan.written, "device", "is older than Ada")
                .help("use `precision = int8` here, or serve on a card of compute capability 8.9 or newer"),
        )
    })
}
