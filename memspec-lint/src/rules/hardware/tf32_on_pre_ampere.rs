//! # tf32-on-pre-ampere (HW006)
//!
//! ## What it does
//! Finds `tf32 = true` on a graphics card older than Ampere.
//!
//! ## Why is this bad?
//! Only Ampere and newer cards have TF32. transformers' trainer, which axolotl and LLaMA-Factory run too, does not start: "--tf32 requires Ampere or
//! a newer GPU arch, cuda>=11 and torch>=1.7".
//!
//! ## Example
//! ```mem
//! device = t4
//! engine = trl
//! train { tf32 = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! engine = trl
//! train { tf32 = false }
//! ```
//!
//! ## Fix safety
//! Safe: a run that does not start has no course that could change, and the card computes in float32 anyway.
//!
//! ## References
//! - transformers 5.24, `training_args.py`: `TrainingArguments.__post_init__`; `utils/import_utils.py`: `is_torch_tf32_available`
//! - <https://github.com/georgian-io/LLM-Finetuning-Toolkit/issues/134>

use memspec::device::DeviceKind;
use memspec::plan::Script;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.train.tf32
                // A loop of one's own has no such check, and PyTorch's switch has no effect.
                && setup.train.script != Script::Loop
                && setup.device.kind == DeviceKind::Cuda
                && setup.device.compute_capability.is_some_and(|(major, _)| major < 8)
        })?;
        Some(
            Finding::new(rule, format!("{} has no TF32, and the trainer does not start", setup.device.title))
                .at(plan.written, "train.tf32", "needs Ampere or newer")
                .at(plan.written, "device", "is older")
                .help("remove it: products stay in float32")
                .fix(context.remove(plan, "train.tf32", Applicability::Safe)),
        )
    })
}
