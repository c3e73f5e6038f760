//! # kernel-needs-newer-gpu (HW008)
//!
//! ## What it does
//! Finds `attention = flash3` on a card older than Hopper.
//!
//! ## Why is this bad?
//! FlashAttention 3 is written for Hopper; transformers refuses it below compute capability 9 when it loads the model.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! train { attention = flash3 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! train { attention = flash2 }
//! ```
//!
//! ## Fix safety
//! Unsafe: another kernel sums in another order.
//!
//! ## References
//! - transformers 5.17, `modeling_flash_attention_utils.py`: `cuda_min_major_version`

use memspec::device::DeviceKind;
use memspec::plan::Attention;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// The least compute capability that transformers takes FlashAttention 3 with.
const HOPPER: (u8, u8) = (9, 0);

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.train.attention == Attention::Flash3
                && setup.device.kind == DeviceKind::Cuda
                && !setup.device.is_any()
                && setup.device.compute_capability.is_some_and(|capability| capability < HOPPER)
        })?;
        let other = if setup.device.flash2 { "flash2" } else { "sdpa" };
        Some(
            Finding::new(rule, format!("FlashAttention 3 needs Hopper, which {} is not", setup.device.title))
                .at(plan.written, "train.attention", "needs compute capability 9.0")
                .at(plan.written, "device", "is older")
                .help(format!("use `attention = {other}`"))
                .fix(context.set(plan, "train.attention", other, Applicability::Unsafe)),
        )
    })
}
