//! # eval-on-training-data (EVL009)
//!
//! ## What it does
//! Finds evaluation on the very file that is trained on.
//!
//! ## Why is this bad?
//! Its loss falls as long as the training goes on, so it never shows when the model begins to learn by heart.
//!
//! ## Example
//! ```mem
//! data { context = 512tok; path = "data/train.jsonl"; eval_path = "data/train.jsonl" }
//! ```
//!
//! ## Use instead
//! ```mem
//! data { context = 512tok; path = "data/train.jsonl"; eval_path = "data/eval.jsonl" }
//! ```

use memspec::plan::Written;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Keys of other trainers that name the samples to evaluate.
const NAMING: [&str; 2] = ["test_datasets", "eval_dataset"];

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let data = plan.written.plan.data.as_ref()?;
        let (path, eval) = (data.path.as_ref()?.one()?, data.eval_path.as_ref()?.one()?);
        let clean = |path: &std::path::Path| context.base.join(path).components().collect::<std::path::PathBuf>();
        (clean(path) == clean(eval) && !is_held_out(context, plan.written)).then(|| {
            Finding::new(rule, "the samples that are evaluated are those that are trained")
                .at(plan.written, "data.eval_path", "the same file")
                .at(plan.written, "data.path", "")
                .help("keep some samples in a file of their own")
        })
    })
}

/// Another trainer's file has a part of the samples held out, or another split of the dataset: it names none of its own.
fn is_held_out(context: &Context<'_>, written: &Written) -> bool {
    let key = written.spans.get("data.eval_path").map(|place| context.text(place.key.clone()));
    context.document.foreign.is_some() && !key.is_some_and(|key| NAMING.contains(&key))
}
