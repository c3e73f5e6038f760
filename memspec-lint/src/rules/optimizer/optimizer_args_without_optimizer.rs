//! # optimizer-args-without-optimizer (OPT002)
//!
//! ## What it does
//! Finds `betas` for an optimizer that has no moments with such decays: `sgd` and `adafactor`.
//!
//! ## Why is this bad?
//! They do nothing. Mostly the optimizer was changed and the line below it forgotten.
//!
//! ## Example
//! ```mem
//! train {
//!   optimizer = sgd
//!   betas     = [0.9, 0.95]
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! train {
//!   optimizer = adamw
//!   betas     = [0.9, 0.95]
//! }
//! ```
//!
//! ## Fix safety
//! Safe: it removes a setting without effect.
//!
//! ## References
//! - PyTorch 2.11, `torch/optim/sgd.py`
//! - transformers 5.17, `optimization.py`: `Adafactor`
//! - axolotl 0.21, `utils/schemas/validation.py`

use memspec::plan::OptimizerKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let without = |kind| matches!(kind, OptimizerKind::Sgd | OptimizerKind::Adafactor);
        let setup = plan.find(|setup| without(setup.train.optimizer)).filter(|_| plan.says("train.betas"))?;
        Some(
            Finding::new(rule, format!("`{}` has no betas", setup.train.optimizer))
                .at(plan.written, "train.betas", "does nothing")
                .at(plan.written, "train.optimizer", "")
                .help("remove it, or use `optimizer = adamw`")
                .fix(context.remove(plan, "train.betas", Applicability::Safe)),
        )
    })
}
