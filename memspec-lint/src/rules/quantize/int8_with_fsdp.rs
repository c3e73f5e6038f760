//! # int8-with-fsdp (QNT009)
//!
//! ## What it does
//! Finds bases packed to 8 bits under FSDP2.
//!
//! ## Why is this bad?
//! bitsandbytes' 8-bit parameters are a tensor type of their own, which FSDP2 cannot cut into shards: "Creating a Parameter from an
//! instance of type Int8Params requires that detach() returns an instance of the same type".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! quantize int8 { }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel ddp { gpus = 2 }
//! quantize int8 { }
//! ```
//!
//! ## Fix safety
//! Unsafe: a whole base is on each card then.
//!
//! ## References
//! - <https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1709>
//! - PyTorch 2.11, `torch/distributed/fsdp/_fully_shard/_fsdp_param.py`: `_init_sharded_param`

use memspec::plan::{ParallelKind, QuantizeKind};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Fsdp2 && parallel.world() > 1)
                && setup.quantize.as_ref().is_some_and(|quantize| quantize.kind == QuantizeKind::Int8)
        })?;
        let fix = context.set(plan, "parallel", "ddp", Applicability::Unsafe);
        Some(
            Finding::new(rule, "FSDP2 cannot shard weights in 8 bits")
                .at(plan.written, "quantize", "a tensor type of its own")
                .at(plan.written, "parallel", "cuts parameters into shards")
                .help("use `parallel ddp`, with a whole base on each card; or `quantize nf4 { storage = bf16 }`")
                .fix(fix),
        )
    })
}
