//! # padding-free-batch-one (ATT007)
//!
//! ## What it does
//! Finds `padding = none` with a micro batch of 1.
//!
//! ## Why is this bad?
//! A single sample is not padded anyway. TRL says so: a batch size of 1 "annihilates the benefits of padding-free training".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = unsloth
//! data {
//!   context = 512tok
//!   padding = none
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = unsloth
//! data {
//!   context = 512tok
//!   padding = none
//! }
//! train { micro_batch = 2 }
//! ```
//!
//! ## Fix safety
//! Safe: a single sample is not padded either way.
//!
//! ## References
//! - TRL, `trainer/sft_trainer.py`: `per_device_train_batch_size == 1`

use memspec::plan::Padding;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| setup.data.padding == Padding::None && setup.train.micro_batch == 1)?;
        plan.says("data.padding").then(|| {
            Finding::new(rule, "a single sample has no padding to leave out")
                .at(plan.written, "data.padding", "changes nothing")
                .at(plan.written, "train.micro_batch", "is 1")
                .help("remove it, or use a larger micro batch")
                .fix(context.remove(plan, "data.padding", Applicability::Safe))
        })
    })
}
