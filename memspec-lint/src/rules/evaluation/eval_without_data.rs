//! # eval-without-data (EVL003)
//!
//! ## What it does
//! Finds a block `eval` without `eval_path` in `data`.
//!
//! ## Why is this bad?
//! Nothing is evaluated, and nothing says so. axolotl and LLaMA-Factory refuse it.
//!
//! ## Example
//! ```mem
//! eval { every = 100step }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; eval_path = "data/train.jsonl" }
//! eval { every = 100step }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a block without effect.
//!
//! ## References
//! - axolotl 0.21, `utils/schemas/validation.py`
//! - LLaMA-Factory 0.9.5, `hparams/parser.py`

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        (plan.says("eval") && !plan.says("data.eval_path")).then_some(())?;
        Some(
            Finding::new(rule, "there is nothing to evaluate")
                .at(plan.written, "eval", "does nothing")
                .help("name the samples, `data { eval_path = \"..\" }`, or remove the block")
                .fix(context.remove(plan, "eval", Applicability::Safe)),
        )
    })
}
