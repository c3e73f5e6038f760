//! # upcast-of-unpacked-base (MEM022)
//!
//! ## What it does
//! Finds `upcast = unpacked` in a plan whose base is not packed.
//!
//! ## Why is this bad?
//! The cast is for what `quantize` leaves in 16 bits. Without `quantize` that is the whole model: its weights take twice the memory.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! train { upcast = unpacked }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! train { upcast = none }
//! ```
//!
//! ## Fix safety
//! Unsafe: weights stay in 16 bits.
//!
//! ## References
//! - PEFT 0.21, `utils/other.py`: `prepare_model_for_kbit_training`

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.train.upcast == memspec::plan::Upcast::Unpacked && setup.quantize.is_none())?;
        Some(
            Finding::new(rule, "the whole base is cast to float32")
                .at(plan.written, "train.upcast", "nothing is packed")
                .help("remove it, or add `quantize nf4 { }`")
                .fix(context.remove(plan, "train.upcast", Applicability::Unsafe)),
        )
    })
}
