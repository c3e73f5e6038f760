//! # kv-cache-while-checkpointing (CKP001)
//!
//! ## What it does
//! Finds `use_cache = true` in a plan that recomputes blocks.
//!
//! ## Why is this bad?
//! A block that runs again for the backward pass would write its keys and values a second time. transformers therefore switches the cache off while it
//! trains with checkpointing, with a warning in the log ("`use_cache=True` is incompatible with gradient checkpointing"): the setting does nothing.
//! Older versions ran with both, and kept the keys and values of every block beside what is recomputed.
//!
//! ## Example
//! ```mem
//! engine = trl
//! train {
//!   checkpointing = block
//!   use_cache     = true
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! engine = trl
//! train { checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - transformers 5.24, `utils/generic.py`: `merge_with_config_defaults`; `modeling_layers.py`: `GradientCheckpointingLayer`
//! - LLaMA-Factory 0.9.5, `model/model_utils/checkpointing.py`: "turn off when gradient checkpointing is enabled"

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.train.use_cache && setup.recomputed_blocks() > 0)?;
        Some(
            Finding::new(rule, "with checkpointing the model caches no keys and values, whatever is asked for")
                .at(plan.written, "train.use_cache", "is switched off")
                .at(plan.written, "train.checkpointing", "by this")
                .help("remove it")
                .fix(context.remove(plan, "train.use_cache", Applicability::Safe)),
        )
    })
}
