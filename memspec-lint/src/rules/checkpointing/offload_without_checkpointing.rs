//! # offload-without-checkpointing (CKP006)
//!
//! ## What it does
//! Finds `activation_offload` in a plan that recomputes no block, unless that is what `checkpointing = auto` found.
//!
//! ## Why is this bad?
//! What goes to host memory is the inputs of recomputed blocks. Without checkpointing there are none: nothing is moved and nothing saved.
//! axolotl and torchtune refuse it.
//!
//! ## Example
//! ```mem
//! device = t4
//! engine = unsloth
//! train {
//!   activation_offload = true
//!   checkpointing      = none
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! engine = unsloth
//! train {
//!   activation_offload = true
//!   checkpointing      = block
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: every step becomes slower.
//!
//! ## References
//! - axolotl 0.21, `utils/schemas/validation.py`: "activation_offloading requires gradient_checkpointing"
//! - <https://github.com/pytorch/torchtune/blob/main/recipes/full_finetune_single_device.py>

use memspec::plan::Checkpointing;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.train.activation_offload && setup.recomputed_blocks() == 0)?;
        let checkpointing = plan.written.plan.train.as_ref()?.checkpointing.as_ref();
        if checkpointing.is_some_and(|written| written.values().contains(&Checkpointing::Auto)) {
            // The setting is for a smaller budget.
            return None;
        }
        Some(
            Finding::new(rule, "without checkpointing no block input is there to move to host memory")
                .at(plan.written, "train.activation_offload", "does nothing")
                .at(plan.written, "train.checkpointing", "recomputes nothing")
                .help("use `checkpointing = block`")
                .fix(context.set(plan, "train.checkpointing", "block", Applicability::Unsafe)),
        )
    })
}
