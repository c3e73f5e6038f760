//! # flash-attention-on-pre-ampere (HW003)
//!
//! ## What it does
//! Finds `attention = flash2` on a graphics card that FlashAttention 2 has no kernels for: those older than Ampere.
//!
//! ## Why is this bad?
//! transformers refuses to load the model so ("FlashAttention2 requires compute capability >= 8"), and older versions stop at the
//! first step, with the weights loaded: "FlashAttention only supports Ampere GPUs or newer".
//!
//! ## Example
//! ```mem
//! device = t4
//! engine = trl
//! train { attention = flash2 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! engine = trl
//! train { attention = sdpa }
//! ```
//!
//! ## Fix safety
//! Unsafe: another kernel sums in another order.
//!
//! ## References
//! - <https://github.com/Dao-AILab/flash-attention/issues/762>
//! - <https://github.com/hiyouga/LLaMA-Factory/issues/3508>
//! - transformers 5.17, `modeling_flash_attention_utils.py`: `cuda_min_major_version`

use memspec::device::DeviceKind;
use memspec::plan::Attention;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.train.attention == Attention::Flash2 && setup.device.kind != DeviceKind::Cpu && !setup.device.flash2
        })?;
        Some(
            Finding::new(rule, format!("FlashAttention 2 has no kernels for {}", setup.device.title))
                .at(plan.written, "train.attention", "needs Ampere or newer")
                .at(plan.written, "device", "is older")
                .help("use `attention = sdpa`: PyTorch's memory-efficient kernel forms no scores either")
                .fix(context.set(plan, "train.attention", "sdpa", Applicability::Unsafe)),
        )
    })
}
