//! # bf16-on-pre-ampere (HW001)
//!
//! ## What it does
//! Finds plans that compute in bfloat16 on a GPU that has no bfloat16 units: NVIDIA cards before Ampere (compute
//! capability below 8.0), such as the T4 and the V100.
//!
//! ## Why is this bad?
//! Trainers refuse to start, or the card emulates bfloat16 several times slower. What PyTorch says
//! (`torch.cuda.is_bf16_supported()`) is no help: newer versions answer yes on a T4 because emulation exists. The catalog's
//! compute capability is asked instead.
//!
//! ## Example
//! ```mem
//! device = t4
//! train { precision = bf16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! train { precision = fp16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: fp16 has a smaller range, so losses are scaled and can differ.
//!
//! ## References
//! - <https://github.com/unslothai/unsloth/issues/2783>
//! - <https://docs.nvidia.com/cuda/cuda-c-programming-guide/index.html#arithmetic-instructions>

use memspec::device::DeviceKind;
use memspec::plan::Precision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let plans = context.plans.iter().filter(|plan| plan.written.spans.get("train.precision").is_some());
    plans
        .filter_map(|plan| {
            let old = plan.setups.iter().map(|one| &one.resolved.setup).find(|setup| {
                setup.device.kind == DeviceKind::Cuda
                    && !setup.device.bf16
                    && matches!(setup.train.precision, Precision::Bf16 | Precision::Bf16Pure)
            })?;
            let (device, precision) = (&old.device, old.train.precision);
            let capability = device
                .compute_capability
                .map_or(String::new(), |(major, minor)| format!(" (compute capability {major}.{minor})"));
            let fix = Fix::set(context.document, plan.index, "train.precision", "fp16", Applicability::Unsafe);
            Some(
                Finding::new(rule, format!("{} has no bfloat16{capability}", device.title))
                    .at(plan.written, "train.precision", format!("{precision} needs Ampere or newer"))
                    .at(plan.written, "device", "is older")
                    .help("use `precision = fp16`, or a newer device")
                    .fix(fix),
            )
        })
        .collect()
}
