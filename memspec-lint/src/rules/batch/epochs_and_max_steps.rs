//! # epochs-and-max-steps (BAT009)
//!
//! ## What it does
//! Finds plans that give `steps` and `epochs`.
//!
//! ## Why is this bad?
//! The steps decide and the epochs are not looked at, here as in transformers (`max_steps` overrides `num_train_epochs`). Who changes the
//! epochs later changes nothing.
//!
//! ## Example
//! ```mem
//! train { steps = 200step; epochs = 3 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { steps = 200step }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - transformers 5.17, `training_args.py`: `max_steps`

use memspec::exchange::foreign::Foreign;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    // Tinker's trainer ends at whichever comes first (axolotl 0.21, `integrations/hatchery/trainer.py`).
    let is_tinker = |foreign: &Foreign| foreign.notes.iter().any(|note| note.name == "hatchery");
    if context.document.foreign.as_ref().is_some_and(is_tinker) {
        return Vec::new();
    }
    context.each(|plan| {
        (plan.says("train.steps") && plan.says("train.epochs")).then_some(())?;
        Some(
            Finding::new(rule, "`steps` decides how long it trains, and `epochs` does nothing")
                .at(plan.written, "train.epochs", "does nothing")
                .at(plan.written, "train.steps", "decides")
                .help("keep one of them")
                .fix(context.remove(plan, "train.epochs", Applicability::Safe)),
        )
    })
}
