//! # eager-attention (ATT013)
//!
//! ## What it does
//! Finds `attention = eager` for a model that has a fused kernel, where the scores cost a tenth of the peak or more.
//!
//! ## Why is this bad?
//! Eager attention forms the scores of all pairs of tokens: its memory grows with the square of the context. The figure is the difference to
//! the plan with `sdpa`, estimated. Models whose scores are capped or have sinks (Gemma 2, GPT-OSS) are left alone.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 1024tok }
//! train { attention = eager }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! data { context = 1024tok }
//! train { attention = sdpa }
//! ```
//!
//! ## Fix safety
//! Unsafe: a fused kernel sums in another order.
//!
//! ## References
//! - <https://arxiv.org/abs/2205.14135> (FlashAttention)

use memspec::plan::Attention;
use memspec::quantity::Bytes;
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// From this share of the peak on the scores are worth a word.
const SHARE: f64 = 0.1;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // A plan that does not fit has this among its fixes.
        let (resolved, now) = plan.fitting(|Setup { train, model, .. }| {
            let fused = model.attention_softcap.is_none() && !model.attention_sinks;
            train.attention == Attention::Eager && fused
        })?;
        let mut setup = resolved.setup.clone();
        setup.train.attention = Attention::Sdpa;
        let (before, after) = (now.peak.process, plan.anew(rule, &setup).ok()?.peak.process);
        let saved = before.bytes.saturating_sub(after.bytes);
        if (saved as f64) < SHARE * before.bytes as f64 {
            return None;
        }
        Some(
            Finding::new(
                rule,
                format!("attention keeps the scores of all pairs of tokens: {} of the peak", Bytes(saved)),
            )
            .at(plan.written, "train.attention", format!("{} less with `sdpa`", Bytes(saved)))
            .certain_if(after.high < before.low)
            .help("use `attention = sdpa`, which never forms them")
            .fix(context.set(plan, "train.attention", "sdpa", Applicability::Unsafe)),
        )
    })
}
