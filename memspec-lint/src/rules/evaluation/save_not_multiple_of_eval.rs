//! # save-not-multiple-of-eval (EVL001)
//!
//! ## What it does
//! Finds `load_best` where checkpoints are not written when it is evaluated: steps between checkpoints that are no multiple of those between
//! evaluations, evaluations that are not counted in steps, or none at all.
//!
//! ## Why is this bad?
//! The best checkpoint is the one whose evaluation is best, so every checkpoint needs one. transformers' trainer refuses to start: "--load_best_model_at_end
//! requires the saving steps to be a round multiple of the evaluation steps". axolotl starts, without the setting, and says nothing: the last step's
//! weights are the result.
//!
//! ## Example
//! ```mem
//! engine = trl
//! data { context = 512tok; eval_path = "data/eval.jsonl" }
//! eval { every = 200step; micro_batch = 1 }
//! save { every = 500step; load_best = true }
//! ```
//!
//! ## Use instead
//! ```mem
//! engine = trl
//! data { context = 512tok; eval_path = "data/eval.jsonl" }
//! eval { every = 200step; micro_batch = 1 }
//! save { every = 600step; load_best = true }
//! ```
//!
//! ## Fix safety
//! Unsafe: other checkpoints are written, and another may be the best.
//!
//! ## References
//! - transformers 5.24, `training_args.py`: `TrainingArguments.__post_init__`
//! - axolotl 0.21, `core/builders/causal.py`: `load_best_model_at_end`
//! - <https://github.com/huggingface/transformers/issues/12786>

use memspec::plan::{EngineName, Script};
use memspec::setup::Setup;

use crate::context::{Context, Seen};
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let own = context.document.foreign.is_none();
    context.each(|plan| {
        // Other trainers' files may save by epochs or shares, which a plan does not have, and then it says nothing.
        let saves_by_steps = own || plan.says("save.every");
        // They may also name samples in a way that a plan does not have.
        let samples_known = own || plan.says("data.path");
        let (setup, mismatch) =
            plan.setups().filter(|setup| has_trainer(setup) && setup.save.load_best).find_map(|setup| {
                let mismatch =
                    Mismatch::of(setup).filter(|mismatch| samples_known || *mismatch != Mismatch::Nothing)?;
                saves_by_steps.then_some((setup, mismatch))
            })?;
        let found = match setup.train.script {
            Script::Axolotl => format!("axolotl drops `load_best` without a word: {}", mismatch.why(setup)),
            _ => format!("transformers' trainer does not start with `load_best`: {}", mismatch.why(setup)),
        };
        let finding =
            Finding::new(rule, found).at(plan.written, "save.load_best", "needs an evaluation for each checkpoint");
        Some(mismatch.repaired(finding, context, plan))
    })
}

/// transformers' trainer runs it, whose settings these are.
fn has_trainer(setup: &Setup) -> bool {
    let scripts = [Script::Sft, Script::Axolotl, Script::Llamafactory];
    setup.trains && setup.engine != EngineName::Memspec && scripts.contains(&setup.train.script)
}

/// Why checkpoints have no evaluation of their own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mismatch {
    /// Nothing is evaluated.
    Nothing,
    /// It is evaluated after epochs.
    Epochs,
    /// It is evaluated after so many steps, which do not divide those between checkpoints.
    Steps(u64),
}

impl Mismatch {
    fn of(setup: &Setup) -> Option<Self> {
        match setup.eval.as_ref().map(|eval| eval.every) {
            None => Some(Self::Nothing),
            Some(None) => Some(Self::Epochs),
            Some(Some(every)) => (!setup.save.every.is_multiple_of(every.max(1))).then_some(Self::Steps(every)),
        }
    }

    fn why(self, setup: &Setup) -> String {
        let saves = setup.save.every;
        match self {
            Self::Nothing => "nothing is evaluated".to_owned(),
            Self::Epochs => format!("it saves every {saves} steps, and evaluates after epochs"),
            Self::Steps(every) => {
                format!("it saves every {saves} steps, which is no multiple of the {every} between evaluations")
            }
        }
    }

    fn repaired(self, finding: Finding, context: &Context<'_>, plan: &Seen<'_>) -> Finding {
        let saves = plan.setups().map(|setup| setup.save.every).max().unwrap_or_default();
        match self {
            Self::Nothing => finding
                .help("name samples for the evaluation, `data { eval_path = \"..\" }`, or remove `load_best`")
                .fix(context.remove(plan, "save.load_best", Applicability::Unsafe)),
            Self::Epochs => finding
                .help(format!("evaluate by steps, `eval {{ every = {saves}step }}`"))
                .fix(context.set(plan, "eval.every", &format!("{saves}step"), Applicability::Unsafe)),
            Self::Steps(every) => {
                let next = saves.div_ceil(every).saturating_mul(every);
                finding
                    .at(plan.written, "save.every", "is no multiple")
                    .at(plan.written, "eval.every", "of this")
                    .help(format!("save every {next} steps"))
                    .fix(context.set(plan, "save.every", &format!("{next}step"), Applicability::Unsafe))
            }
        }
    }
}
