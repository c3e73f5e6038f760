//! # serving-over-budget (MEM021)
//!
//! ## What it does
//! Finds plans that train and serve, where serving as the block `serve` says takes more than the plan may.
//!
//! ## Why is this bad?
//! The training fits, so the limit on its memory says nothing of what comes after it: keys and values of many long conversations take more than
//! the weights.
//!
//! ## Example
//! ```mem
//! device = t4
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! serve { context = 2048tok; concurrency = 512 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
//! serve { context = 2048tok; concurrency = 16 }
//! ```
//!
//! ## References
//! - <https://arxiv.org/abs/2309.06180> (PagedAttention: what keys and values take)

use memspec::cost::inference;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (setup, takes) = plan.setups().filter(|setup| setup.trains).find_map(|setup| {
            let takes = inference(&setup.model, setup.serve.as_ref()?, &setup.device).ok()?;
            (!takes.fits(setup.budget.device_memory.0)).then_some((setup, takes))
        })?;
        let (limit, total) = (setup.budget.device_memory, takes.total);
        Some(
            Finding::new(
                rule,
                format!("serving takes {} to {}, and may take {limit}", Bytes(total.low), Bytes(total.high)),
            )
            .at(plan.written, "serve.concurrency", format!("keys and values: {}", Bytes(takes.cache.bytes)))
            .at(plan.written, "serve.precision", format!("weights: {}", Bytes(takes.weights.bytes)))
            .certain_if(total.low > limit.0)
            .help("serve fewer conversations, a shorter context, or fewer bits (`cache = f8`, `precision = int8`)"),
        )
    })
}
