//! # seq-shorter-than-data (ATT005)
//!
//! ## What it does
//! Finds plans whose context cuts more than 5 % of the training samples. It looks at files that are on this machine, in the tokens of
//! the model's own tokenizer.
//!
//! ## Why is this bad?
//! Nothing says so while it trains. The ends of the longest samples are lost, the end of text with them, and a model that never
//! sees one learns to go on and on.
//!
//! ## Use instead
//! ```mem
//! data {
//!   path = "data/train.jsonl"
//!   context = 2048tok
//! }
//! ```

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// The share of samples that may be cut.
const CUT: f64 = 0.05;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let found = context.plans.iter().filter_map(|plan| {
        let data = plan.setups.iter().map(|one| &one.resolved.setup.data);
        let cut = data.filter_map(|data| Some((data.context, data.lengths.as_ref()?)));
        let (context, lengths) = cut.min_by_key(|(context, _)| *context)?;
        let share = lengths.truncated_share();
        (share > CUT).then(|| {
            let message =
                format!("{:.1} % of the samples are longer than {context} tokens and lose their ends", 100.0 * share);
            Finding::new(rule, message)
                .at(plan.written, "data.context", format!("cuts {} of {}", lengths.truncated, lengths.samples))
                .at(plan.written, "data.path", "has longer samples")
                .help("give more context, or leave out or split the long samples")
        })
    });
    found.collect()
}
