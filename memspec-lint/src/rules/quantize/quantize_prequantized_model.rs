//! # quantize-prequantized-model (QNT005)
//!
//! ## What it does
//! Finds a `quantize` block for a model whose published weights are quantized already.
//!
//! ## Why is this bad?
//! transformers takes no second quantization of such a checkpoint: it stops, or keeps the published one and leaves the block out of
//! account.
//!
//! ## Example
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = "h100-80"
//! engine = trl
//! quantize nf4 { }
//! adapter lora { targets = attention }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "openai/gpt-oss-20b"
//! device = "h100-80"
//! engine = trl
//! adapter lora { targets = attention }
//! ```
//!
//! ## Fix safety
//! Unsafe: without the block the weights take what their published form takes.
//!
//! ## References
//! - transformers 5.17, `quantizers/auto.py`: `merge_quantization_configs`
//! - axolotl 0.21, `utils/schemas/peft.py`

use memspec::model::PublishedQuantization;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let kind = setup.quantize.as_ref().map(|quantize| quantize.kind.name());
            let published = match &setup.model.published_quantization {
                None => return false,
                Some(PublishedQuantization::Mxfp4Experts) => "mxfp4",
                Some(PublishedQuantization::Other { method }) => method,
            };
            // That the plan repeats what is published is no mistake; bitsandbytes is the program behind two kinds.
            kind.is_some_and(|kind| {
                kind != published && !(published == "bitsandbytes" && ["nf4", "int8"].contains(&kind))
            })
        })?;
        Some(
            Finding::new(rule, format!("the weights of `{}` are published quantized", setup.model_name))
                .at(plan.written, "quantize", "cannot be packed a second time")
                .at(plan.written, "model", "is packed already")
                .help("leave `quantize` out, or take a copy of the model in 16 bits")
                .fix(context.remove(plan, "quantize", Applicability::Unsafe)),
        )
    })
}
