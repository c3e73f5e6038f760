//! # trainable-embeddings-with-lora (MEM012)
//!
//! ## What it does
//! Finds modules that are trained whole beside an adapter (`train_whole`) and add a tenth of the peak or more.
//!
//! ## Why is this bad?
//! Each is copied, and has gradients and two optimizer states in full: on Gemma 2 2B the embedding alone costs 4.8 GiB, and a LoRA run that
//! was small is no longer. The figure is that of the plan estimated anew.
//!
//! ## Example
//! ```mem
//! device = l4
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! engine = trl
//! adapter lora {
//!   rank        = 16
//!   train_whole = [embed_tokens, lm_head]
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! engine = trl
//! adapter lora {
//!   rank        = 16
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: new tokens are not learnt then.
//!
//! ## References
//! - <https://github.com/huggingface/peft/pull/2376>
//! - <https://github.com/hiyouga/LLaMA-Factory/issues/6285>

use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Of the peak.
const SHARE: f64 = 0.1;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) =
            plan.fitting(|setup| setup.adapter.as_ref().is_some_and(|adapter| !adapter.train_whole.is_empty()))?;
        let mut setup = resolved.setup.clone();
        setup.adapter.as_mut()?.train_whole.clear();
        let before = now.peak.process.bytes;
        let saved = before.saturating_sub(plan.anew(rule, &setup).ok()?.peak.process.bytes);
        if (saved as f64) < SHARE * before as f64 {
            return None;
        }
        Some(
            Finding::new(rule, format!("modules trained whole add {} to the peak", Bytes(saved)))
                .at(plan.written, "adapter.train_whole", "copies, gradients and optimizer states in full")
                .help("where no tokens are new, leave them out; for a few new tokens PEFT trains their rows alone (`trainable_token_indices`)")
                .fix(context.remove(plan, "adapter.train_whole", Applicability::Unsafe)),
        )
    })
}
