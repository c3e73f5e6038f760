//! # moe-experts-left-unquantized (QNT011)
//!
//! ## What it does
//! Finds `quantize` for a model with experts under the engine trl, whose experts stay in 16 bits.
//!
//! ## Why is this bad?
//! transformers 5 keeps the experts of a block in two parameters, and bitsandbytes packs linears: nearly all of a "4-bit" model stays as it
//! is. The figure is what the experts take.
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen1.5-MoE-A2.7B"
//! device = "a100-80"
//! engine = trl
//! quantize nf4 { }
//! adapter lora { targets = attention }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen1.5-MoE-A2.7B"
//! device = "a100-80"
//! engine = trl
//! adapter lora { targets = attention }
//! ```
//!
//! ## References
//! - <https://github.com/unslothai/unsloth/issues/6936>
//! - axolotl 0.21, `utils/schemas/config.py`: `quantize_moe_experts`

use memspec::plan::EngineName;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.engine == EngineName::Trl
                && setup.quantize.as_ref().is_some_and(|quantize| !quantize.experts)
                && setup.model.experts.is_some()
                && setup.model.published_quantization.is_none()
        })?;
        let (model, kind) = (&setup.model, setup.quantize.as_ref()?.kind);
        let experts = model.experts.as_ref()?;
        let one: u64 = model.expert_linears().iter().map(memspec::model::Linear::weights).sum();
        let all = one.saturating_mul(experts.count).saturating_mul(model.layers.saturating_sub(experts.first_dense));
        let share = 100.0 * all as f64 / model.parameters() as f64;
        Some(
            Finding::new(rule, format!("the experts of `{}` stay in 16 bits: {}", setup.model_name, Bytes(2 * all)))
                .at(
                    plan.written,
                    "quantize",
                    format!("{kind} packs linears, which {share:.0} % of the weights are not"),
                )
                .help("count with a model in 16 bits: more cards, or a smaller one"),
        )
    })
}
