//! # flash-attention-with-fp32 (HW005)
//!
//! ## What it does
//! Finds FlashAttention in a plan that computes in float32.
//!
//! ## Why is this bad?
//! Its kernels take float16 and bfloat16 alone. transformers casts float32 queries to the type of the layer's weights, which is
//! float32 here, and the kernel stops: "FlashAttention only support fp16 and bf16 data type".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! train {
//!   precision = f32
//!   attention = flash2
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! train {
//!   precision = bf16
//!   attention = flash2
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: a step is computed in 16 bits then.
//!
//! ## References
//! - transformers 5.17, `integrations/flash_attention.py`: `get_target_dtype`

use memspec::device::DeviceKind;
use memspec::plan::{Attention, Precision};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            matches!(setup.train.attention, Attention::Flash2 | Attention::Flash3)
                && setup.train.precision == Precision::F32
                && setup.quantize.is_none()
                && setup.device.kind != DeviceKind::Cpu
        })?;
        let precision = if setup.device.bf16 { "bf16" } else { "fp16" };
        Some(
            Finding::new(rule, "FlashAttention has no kernels for float32")
                .at(plan.written, "train.attention", "takes fp16 and bf16")
                .at(plan.written, "train.precision", "is f32")
                .help(format!("use `precision = {precision}`, or `attention = sdpa`"))
                .fix(context.set(plan, "train.precision", precision, Applicability::Unsafe)),
        )
    })
}
