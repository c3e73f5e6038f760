//! # packing-without-varlen-attention (ATT001)
//!
//! ## What it does
//! Finds packed samples with attention other than FlashAttention, under TRL's trainer.
//!
//! ## Why is this bad?
//! TRL lays samples in one row and tells them apart by their positions. FlashAttention takes their bounds; any other kernel hangs on the
//! model's own mask of all pairs of tokens, and where that is missing, samples read each other and the loss still falls. TRL warns that this
//! "may lead to cross-contamination between samples".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! data {
//!   context = 512tok
//!   packing = true
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! data {
//!   context = 512tok
//!   packing = true
//! }
//! train { attention = flash2 }
//! ```
//!
//! ## Fix safety
//! Unsafe: another kernel, or samples one by one.
//!
//! ## References
//! - TRL, `trainer/sft_trainer.py`: `FLASH_ATTENTION_VARIANTS`
//! - <https://github.com/axolotl-ai-cloud/axolotl/issues/449>
//! - <https://github.com/huggingface/trl/issues/3067>

use memspec::plan::{Attention, EngineName, Script};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.engine == EngineName::Trl
                && setup.data.packing
                && setup.model.vision.is_none()
                // axolotl and LLaMA-Factory make a mask of which samples see each other.
                && matches!(setup.train.script, Script::Sft | Script::Loop)
                && !matches!(setup.train.attention, Attention::Flash2 | Attention::Flash3)
        })?;
        let finding =
            Finding::new(rule, format!("with `{}` packed samples may attend to each other", setup.train.attention))
                .at(plan.written, "data.packing", "samples in one row")
                .at(plan.written, "train.attention", "does not take their bounds");
        Some(if setup.device.flash2 {
            let fix = context.set(plan, "train.attention", "flash2", Applicability::Unsafe);
            finding.help("use `attention = flash2`, or `packing = false`").fix(fix)
        } else {
            let fix = context.set(plan, "data.packing", "false", Applicability::Unsafe);
            finding.help("use `packing = false`: this card has no FlashAttention 2").fix(fix)
        })
    })
}
