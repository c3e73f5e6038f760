//! # eval-after-the-end (EVL011)
//!
//! ## What it does
//! Finds evaluations that are further apart than the run is long.
//!
//! ## Why is this bad?
//! There is one, at the end, as without the setting: nobody sees on the way whether the model begins to learn by heart.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; eval_path = "data/train.jsonl" }
//! train { steps = 50step }
//! eval { every = 100step }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; eval_path = "data/train.jsonl" }
//! train { steps = 50step }
//! eval { every = 10step }
//! ```
//!
//! ## Fix safety
//! Safe: evaluation changes nothing that is trained.

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (every, steps) = plan.setups().find_map(|setup| {
            let every = setup.eval.as_ref()?.every?;
            plan.steps().filter(|steps| every > *steps).map(|steps| (every, steps))
        })?;
        let better = (steps / 5).max(1);
        Some(
            Finding::new(rule, format!("the run has {steps} steps, and is evaluated every {every}"))
                .at(plan.written, "eval.every", "once, at the end")
                .help(format!("use `every = {better}step`"))
                .fix(context.set(plan, "eval.every", &format!("{better}step"), Applicability::Safe)),
        )
    })
}
