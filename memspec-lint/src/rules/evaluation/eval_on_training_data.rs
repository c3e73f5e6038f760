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

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let data = plan.written.plan.data.as_ref()?;
        let (path, eval) = (data.path.as_ref()?.one()?, data.eval_path.as_ref()?.one()?);
        let clean = |path: &std::path::Path| context.base.join(path).components().collect::<std::path::PathBuf>();
        (clean(path) == clean(eval)).then(|| {
            Finding::new(rule, "the samples that are evaluated are those that are trained")
                .at(plan.written, "data.eval_path", "the same file")
                .at(plan.written, "data.path", "")
                .help("keep some samples in a file of their own")
        })
    })
}
