//! # offload-on-cpu (CKP012)
//!
//! ## What it does
//! Finds `activation_offload` in a plan that runs on the CPU.
//!
//! ## Why is this bad?
//! What goes to host memory is the inputs of recomputed blocks. On the CPU they are in host memory anyway: nothing is moved and nothing saved, though
//! the plan reads as if it were.
//!
//! ## Example
//! ```mem
//! device = cpu
//! engine = memspec
//! train {
//!   activation_offload = true
//!   checkpointing      = block
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = cpu
//! engine = memspec
//! train {
//!   checkpointing = block
//! }
//! ```
//!
//! ## Fix safety
//! Safe: the setting has no effect there.
//!
//! ## References
//! - memspec-train, `kernels/lane.rs`: on the CPU the place of an input in host memory is the tensor itself

use memspec::device::DeviceKind;
use memspec::plan::EngineName;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            setup.engine == EngineName::Memspec
                && setup.device.kind == DeviceKind::Cpu
                && setup.train.activation_offload
                // Otherwise another rule says that there is nothing to move.
                && setup.recomputed_blocks() > 0
        })?;
        Some(
            Finding::new(rule, "on the CPU block inputs are in host memory anyway")
                .at(plan.written, "train.activation_offload", "moves nothing")
                .at(plan.written, "device", "has no memory of its own")
                .help("remove it, or name a card")
                .fix(context.remove(plan, "train.activation_offload", Applicability::Safe)),
        )
    })
}
