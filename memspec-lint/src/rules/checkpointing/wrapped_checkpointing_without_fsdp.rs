//! # wrapped-checkpointing-without-fsdp (CKP011)
//!
//! ## What it does
//! Finds `wrapped_checkpointing` in a plan without FSDP2, or one that recomputes no block.
//!
//! ## Why is this bad?
//! It moves the checkpoints of blocks into FSDP's wrappers around them. Without wrappers, or without checkpoints, it does nothing.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel ddp {
//!   gpus = 2
//!   wrapped_checkpointing = true
//! }
//! train { checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 {
//!   gpus = 2
//!   wrapped_checkpointing = true
//! }
//! train { checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - accelerate 1.12, `accelerator.py`: `fsdp_plugin.activation_checkpointing`

use memspec::plan::ParallelKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.parallel.is_some_and(|parallel| {
                parallel.wrapped_checkpointing
                    && (parallel.kind != ParallelKind::Fsdp2 || setup.recomputed_blocks() == 0)
            })
        })?;
        let why = match setup.parallel?.kind {
            ParallelKind::Fsdp2 => "no block is recomputed",
            _ => "only FSDP2 wraps blocks",
        };
        Some(
            Finding::new(rule, format!("`wrapped_checkpointing` does nothing: {why}"))
                .at(plan.written, "parallel.wrapped_checkpointing", "does nothing")
                .help("remove it")
                .fix(context.remove(plan, "parallel.wrapped_checkpointing", Applicability::Safe)),
        )
    })
}
