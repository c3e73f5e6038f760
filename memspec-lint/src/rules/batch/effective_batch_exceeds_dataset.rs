//! # effective-batch-exceeds-dataset (BAT001)
//!
//! ## What it does
//! Finds steps that take more samples than the dataset has.
//!
//! ## Why is this bad?
//! An epoch is then one step, of fewer samples than the plan says: the learning rate is for another batch, and with three epochs there are
//! three steps in all.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; samples = 100; mean_length = 200tok }
//! train { micro_batch = 8; accumulate = 32 }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; samples = 100; mean_length = 200tok }
//! train { micro_batch = 8; accumulate = 2 }
//! ```
//!
//! ## Fix safety
//! Unsafe: a step has fewer samples.
//!
//! ## References
//! - <https://github.com/huggingface/transformers/issues/14309>
//! - transformers 5.17, `trainer.py`: `num_update_steps_per_epoch`

use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (batch, samples) = plan.find(|setup| too_large(setup).is_some()).and_then(too_large)?;
        let setup = plan.find(|setup| too_large(setup).is_some())?;
        let at_once = u64::from(setup.train.micro_batch) * setup.copies();
        let finding = Finding::new(rule, format!("a step takes {batch} samples, and there are {samples}")).at(
            plan.written,
            "train.accumulate",
            format!("{} times {at_once} samples", setup.train.accumulate),
        );
        // Some steps are left in an epoch.
        let fewer = (samples / at_once / 4).max(1).min(u64::from(setup.train.accumulate));
        Some(if at_once * fewer <= samples {
            finding.help(format!("use `accumulate = {fewer}`")).fix(context.set(
                plan,
                "train.accumulate",
                &fewer.to_string(),
                Applicability::Unsafe,
            ))
        } else {
            finding.help("use a smaller `micro_batch`, or fewer cards")
        })
    })
}

/// Samples of a step and of the dataset, where the step has more.
fn too_large(setup: &Setup) -> Option<(u64, u64)> {
    let samples = setup.data.lengths.as_ref().map(|lengths| lengths.samples).filter(|samples| *samples > 0)?;
    let accumulated = u64::from(setup.train.micro_batch) * u64::from(setup.train.accumulate);
    let batch = accumulated.saturating_mul(setup.copies());
    (!setup.data.packing && batch > samples).then_some((batch, samples))
}
