//! # warmup-exceeds-run (BAT002)
//!
//! ## What it does
//! Finds warmups that last as long as the run, or longer.
//!
//! ## Why is this bad?
//! The learning rate never gets where it should: the run ends while it still rises.
//!
//! ## Example
//! ```mem
//! train { steps = 50step; warmup = 100step }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { steps = 50step; warmup = 3% }
//! ```
//!
//! ## Fix safety
//! Unsafe: the learning rate takes another course.
//!
//! ## References
//! - <https://github.com/Morizeyao/GPT2-Chinese/issues/60>
//! - transformers 5.17, `optimization.py`

use memspec::setup::Warmup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.train.warmup != Warmup::Steps(0))?;
        let steps = plan.steps();
        let words = match setup.train.warmup {
            Warmup::Steps(warmup) if steps.is_some_and(|steps| warmup >= steps) => format!("{warmup} steps"),
            Warmup::Share(share) if share >= 1.0 => format!("{:.0} % of the run", 100.0 * share),
            _ => return None,
        };
        let run = steps.map_or_else(|| "the run".to_owned(), |steps| format!("{steps} steps"));
        Some(
            Finding::new(rule, format!("the warmup takes {words}, all of {run}"))
                .at(plan.written, "train.warmup", "the rate never gets to its height")
                .help("use `warmup = 3%`")
                .fix(context.set(plan, "train.warmup", "3%", Applicability::Unsafe)),
        )
    })
}
