//! # replicated-quantized-base (DST006)
//!
//! ## What it does
//! Finds a packed base under `ddp`, and says how much of each card it takes.
//!
//! ## Why is this bad?
//! DDP keeps the whole base on every card: more cards train faster, and fit no larger model. Who adds cards for memory wants FSDP2.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel ddp { gpus = 2 }
//! quantize nf4 { }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! quantize nf4 { storage = bf16 }
//! ```
//!
//! ## References
//! - <https://huggingface.co/docs/bitsandbytes/main/fsdp_qlora>

use memspec::plan::ParallelKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.quantize.is_some()
                && setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Ddp && parallel.world() > 1)
        })?;
        let billions = setup.model.parameters() as f64 / 1e9;
        Some(
            Finding::new(
                rule,
                format!("each of {} cards holds the whole base, {billions:.1} billion weights", setup.world()),
            )
            .at(plan.written, "parallel", "the estimate is that of one card")
            .help("to share the base: `parallel fsdp2` with `quantize nf4 { storage = bf16 }`"),
        )
    })
}
