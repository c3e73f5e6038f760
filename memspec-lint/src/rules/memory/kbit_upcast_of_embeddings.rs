//! # kbit-upcast-of-embeddings (MEM004)
//!
//! ## What it does
//! Finds `upcast = unpacked` beside a packed base, where what is cast to float32 adds a twentieth of the peak or more.
//!
//! ## Why is this bad?
//! `prepare_model_for_kbit_training` casts everything that is not packed, which is mostly the embedding and the head: 1.96 GiB more on
//! Llama 3 8B. Only norms gain from it. The figure is that of the plan estimated anew.
//!
//! ## Example
//! ```mem
//! device = l4
//! model  = "meta-llama/Meta-Llama-3-8B"
//! engine = trl
//! quantize nf4 { }
//! train { upcast = unpacked; checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! model  = "meta-llama/Meta-Llama-3-8B"
//! engine = trl
//! quantize nf4 { }
//! train { upcast = norms; checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Unsafe: head and embedding compute in 16 bits.
//!
//! ## References
//! - <https://github.com/huggingface/peft/issues/816>
//! - PEFT 0.21, `utils/other.py`: `prepare_model_for_kbit_training`

use memspec::plan::Upcast;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Of the peak.
const SHARE: f64 = 0.05;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) =
            plan.fitting(|setup| setup.train.upcast == Upcast::Unpacked && setup.quantize.is_some())?;
        let mut setup = resolved.setup.clone();
        setup.train.upcast = Upcast::Norms;
        let (before, after) = (now.peak.process, plan.anew(rule, &setup).ok()?.peak.process);
        let saved = before.bytes.saturating_sub(after.bytes);
        if (saved as f64) < SHARE * before.bytes as f64 {
            return None;
        }
        Some(
            Finding::new(rule, format!("embedding and head in float32 add {} to the peak", Bytes(saved)))
                .at(plan.written, "train.upcast", format!("{} less with `norms`", Bytes(saved)))
                .certain_if(after.high < before.low)
                .help("use `upcast = norms`, or `none`, as TRL does")
                .fix(context.set(plan, "train.upcast", "norms", Applicability::Unsafe)),
        )
    })
}
