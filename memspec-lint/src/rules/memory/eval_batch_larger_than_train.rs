//! # eval-batch-larger-than-train (MEM006)
//!
//! ## What it does
//! Finds plans whose peak is in the evaluation, as its micro batch is larger than that of training.
//!
//! ## Why is this bad?
//! Training runs for hours, and the first evaluation ends it. transformers evaluates 8 samples at once unless it is told otherwise, whatever the
//! training's batch is.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! data {
//!   context   = 2048tok
//!   eval_path = "data/train.jsonl"
//! }
//! train { micro_batch = 1; checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! data {
//!   context   = 2048tok
//!   eval_path = "data/train.jsonl"
//! }
//! train { micro_batch = 1; checkpointing = block }
//! eval { micro_batch = 1 }
//! ```
//!
//! ## Fix safety
//! Safe: the evaluation finds the same loss.
//!
//! ## References
//! - axolotl 0.21, `utils/schemas/validation.py`: `hint_eval_train_mbsz`
//! - transformers 5.17, `training_args.py`: `per_device_eval_batch_size`

use memspec::cost::PhaseName;
use memspec::quantity::Bytes;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (resolved, now) = plan
            .fitting(|setup| setup.eval.as_ref().is_some_and(|eval| eval.micro_batch > setup.train.micro_batch))
            .filter(|(_, estimate)| estimate.peak.phase == PhaseName::Evaluate)?;
        let mut setup = resolved.setup.clone();
        let batch = setup.train.micro_batch;
        let of_evaluation = setup.eval.as_ref()?.micro_batch;
        setup.eval.as_mut()?.micro_batch = batch;
        let (before, after) = (now.peak.process, plan.anew(rule, &setup).ok()?.peak.process);
        let saved = Bytes(before.bytes.saturating_sub(after.bytes));
        let message =
            format!("the evaluation of {of_evaluation} samples at once is the peak, {saved} above the training");
        Some(
            Finding::new(rule, message)
                .at(plan.written, "eval.micro_batch", format!("{of_evaluation}, and training takes {batch}"))
                .certain_if(after.high < before.low)
                .help(format!("use `eval {{ micro_batch = {batch} }}`: the same loss, a little later"))
                .fix(context.set(plan, "eval.micro_batch", &batch.to_string(), Applicability::Safe)),
        )
    })
}
