//! # effective-batch-outlier (BAT005)
//!
//! ## What it does
//! Finds optimizer steps of fewer than 2,000 tokens, or more than 4 million, as long as samples are as long as `context` allows.
//!
//! ## Why is this bad?
//! Few tokens make noisy steps, very many waste them: adapters in particular learn less from large batches than all weights do.
//!
//! ## Example
//! ```mem
//! data { context = 512tok }
//! train { micro_batch = 1; accumulate = 1 }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok }
//! train { micro_batch = 1; accumulate = 16 }
//! ```
//!
//! ## References
//! - <https://thinkingmachines.ai/blog/lora/> (batch sizes)

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Tokens of a step that are usual.
const USUAL: std::ops::RangeInclusive<u64> = 2_000..=4_000_000;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let tokens = |setup: &memspec::setup::Setup| {
            let samples = u64::from(setup.train.micro_batch) * u64::from(setup.train.accumulate);
            samples.saturating_mul(setup.copies()).saturating_mul(setup.data.context)
        };
        let setup = plan.find(|setup| !USUAL.contains(&tokens(setup)))?;
        let (tokens, few) = (tokens(setup), tokens(setup) < *USUAL.start());
        Some(
            Finding::new(rule, format!("a step has {}{tokens} tokens", if few { "at most " } else { "up to " }))
                .at(plan.written, "train.accumulate", if few { "few" } else { "many" })
                .help(if few { "accumulate more samples" } else { "accumulate fewer samples" }),
        )
    })
}
