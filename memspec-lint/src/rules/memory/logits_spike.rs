//! # logits-spike (MEM003)
//!
//! ## What it does
//! Finds plans whose logits, formed all at once, take more than a quarter of the memory there is.
//!
//! ## Why is this bad?
//! Logits are tokens times vocabulary, with a copy in float32 and a gradient: with 128,000 words and more they are the peak, while the model
//! itself would fit twice. A loss in chunks never holds them all. The figure is that of the plan estimated anew.
//!
//! ## Example
//! ```mem
//! device = l4
//! model  = "meta-llama/Llama-3.2-1B"
//! engine = trl
//! data { context = 2048tok }
//! train { micro_batch = 4; loss = whole; checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! model  = "meta-llama/Llama-3.2-1B"
//! engine = trl
//! data { context = 2048tok }
//! train { micro_batch = 4; loss = chunked; checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Safe: the loss is the same.
//!
//! ## References
//! - <https://github.com/linkedin/Liger-Kernel/issues/1308>
//! - TRL, `trainer/utils.py`: the chunked loss

use memspec::plan::{EngineName, LossKind, Script};
use memspec::quantity::Bytes;
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Of what the plan may take.
const SHARE: f64 = 0.25;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // A plan that does not fit has this among its fixes.
        let (resolved, now) = plan.fitting(|Setup { engine, train, .. }| {
            let whole = train.loss == LossKind::Whole || train.loss == LossKind::Auto && train.script != Script::Sft;
            *engine == EngineName::Trl && whole
        })?;
        let better = match resolved.setup.train.script {
            // axolotl has chunks by way of cut cross entropy.
            Script::Sft | Script::Axolotl => LossKind::Chunked,
            // The chunked loss is SFTTrainer's.
            Script::Loop | Script::Llamafactory | Script::LlamafactoryV1 => LossKind::Liger,
        };
        let mut setup = resolved.setup.clone();
        setup.train.loss = better;
        let after = plan.anew(rule, &setup).ok()?.peak.process;
        let saved = Bytes(now.peak.process.bytes.saturating_sub(after.bytes));
        if (saved.0 as f64) < SHARE * now.limit_bytes as f64 {
            return None;
        }
        Some(
            Finding::new(rule, format!("logits of {} words for every token, all at once", resolved.setup.model.vocab))
                .at(plan.written, "train.loss", format!("{saved} less with `{better}`"))
                .certain_if(after.high < now.peak.process.low)
                .help(format!("use `loss = {better}`: the same loss, a part of the tokens at a time"))
                .fix(context.set(plan, "train.loss", better.name(), Applicability::Safe)),
        )
    })
}
