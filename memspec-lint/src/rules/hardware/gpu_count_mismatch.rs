//! # gpu-count-mismatch (HW011)
//!
//! ## What it does
//! Finds plans that share their work over another number of cards than the machine has which they name.
//!
//! ## Why is this bad?
//! With more processes than cards the launcher stops ("invalid device ordinal"); with fewer, cards that are paid for do nothing.
//!
//! ## Example
//! ```mem
//! device = "kaggle-t4x2"
//! engine = trl
//! parallel ddp { gpus = 4 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "kaggle-t4x2"
//! engine = trl
//! parallel ddp { gpus = 2 }
//! ```
//!
//! ## Fix safety
//! Unsafe: with another number of cards a step has another number of samples.
//!
//! ## References
//! - <https://github.com/hiyouga/LLaMA-Factory/blob/main/src/llamafactory/hparams/parser.py> ("Total parallel size")

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let differs = plan.find(|setup| {
            let machine = setup.device.machine.as_ref();
            machine.zip(setup.parallel).is_some_and(|(machine, parallel)| parallel.gpus != machine.gpus)
        })?;
        let (machine, parallel) = (differs.device.machine.as_ref()?, differs.parallel?);
        // Fewer can be meant: the rest is for another run.
        if parallel.gpus < machine.gpus && parallel.nodes == 1 {
            return None;
        }
        let message = format!("{} has {} cards, and the plan uses {}", machine.title, machine.gpus, parallel.gpus);
        Some(
            Finding::new(rule, message)
                .at(plan.written, "parallel.gpus", "cards in each machine")
                .at(plan.written, "device", format!("has {}", machine.gpus))
                .help(format!("use `gpus = {}`, or more machines with `nodes`", machine.gpus))
                .fix(context.set(plan, "parallel.gpus", &machine.gpus.to_string(), Applicability::Unsafe)),
        )
    })
}
