//! # no-mixed-precision (PRE005)
//!
//! ## What it does
//! Finds training in `f32` on a graphics card.
//!
//! ## Why is this bad?
//! Activations and frozen weights take twice the bytes of 16 bit ones, and matrix units stand still: a step is several times slower.
//! LLaMA-Factory warns of it too.
//!
//! ## Example
//! ```mem
//! device = l4
//! train { precision = f32 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! train { precision = bf16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: a step is computed in 16 bits then.
//!
//! ## References
//! - <https://arxiv.org/abs/1710.03740> (mixed precision training)

use memspec::device::DeviceKind;
use memspec::plan::{Attention, Precision};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.device.kind != DeviceKind::Cpu
                && setup.train.precision == Precision::F32
                // that is an error, which another rule names
                && !matches!(setup.train.attention, Attention::Flash2 | Attention::Flash3)
        })?;
        let better = if setup.device.bf16 { "bf16" } else { "fp16" };
        Some(
            Finding::new(
                rule,
                format!("float32 on {}, which computes in 16 bits several times as fast", setup.device.title),
            )
            .at(plan.written, "train.precision", "twice the memory of 16 bits")
            .help(format!("use `precision = {better}`: weights that are trained stay in float32"))
            .fix(context.set(plan, "train.precision", better, Applicability::Unsafe)),
        )
    })
}
