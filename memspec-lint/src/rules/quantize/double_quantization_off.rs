//! # double-quantization-off (QNT003)
//!
//! ## What it does
//! Finds plans with `nf4` whose scales are not packed too (`double`), where more than 85 % of the memory is taken.
//!
//! ## Why is this bad?
//! Each 64 weights share a scale of 4 bytes, half a bit a weight. Packed again it is an eighth of a bit: 0.4 GiB less on a model of
//! 8 billion weights. The figure is that of the plan estimated anew.
//!
//! ## Example
//! ```mem
//! model  = "meta-llama/Meta-Llama-3-8B"
//! device = t4
//! engine = trl
//! quantize nf4 { double = false }
//! data { context = 1024tok }
//! train { micro_batch = 4; checkpointing = block }
//! budget { device_memory <= 10GiB }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "meta-llama/Meta-Llama-3-8B"
//! device = t4
//! engine = trl
//! quantize nf4 { double = true }
//! data { context = 1024tok }
//! train { micro_batch = 4; checkpointing = block }
//! budget { device_memory <= 10GiB }
//! ```
//!
//! ## Fix safety
//! Unsafe: scales are rounded to 8 bits.
//!
//! ## References
//! - <https://arxiv.org/abs/2305.14314> (section 3, double quantization)

use memspec::plan::QuantizeKind;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// From this share of the limit on it is worth it.
const TIGHT: f64 = 0.85;
/// Savings below this are noise.
const LEAST: u64 = 64 << 20;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) = plan.close().find(|(resolved, estimate)| {
            let single = |kind, double: bool| kind == QuantizeKind::Nf4 && !double;
            let setup = &resolved.setup;
            estimate.fits
                && setup.quantize.as_ref().is_some_and(|quantize| single(quantize.kind, quantize.double))
                && estimate.needs().0 as f64 > TIGHT * estimate.limit_bytes as f64
        })?;
        let mut setup = resolved.setup.clone();
        setup.quantize.as_mut()?.double = true;
        let saved = now.peak.process.bytes.saturating_sub(plan.anew(rule, &setup).ok()?.peak.process.bytes);
        if saved < LEAST {
            return None;
        }
        Some(
            Finding::new(rule, format!("the scales of packed weights take {} more than they need", Bytes(saved)))
                .at(plan.written, "quantize.double", format!("{} less with `true`", Bytes(saved)))
                .help("use `double = true`: QLoRA's measured no loss of quality")
                .fix(context.set(plan, "quantize.double", "true", Applicability::Unsafe)),
        )
    })
}
