//! # tied-lm-head-target (LOR003)
//!
//! ## What it does
//! Finds an adapter on `lm_head` or `embed_tokens`, or one of them trained whole, where the two share one weight.
//!
//! ## Why is this bad?
//! PEFT gives each its own copy or adapter, so they drift apart; the merged model is loaded with one weight for both again and writes
//! nonsense. TRL refuses an adapter on the head.
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! adapter lora { targets = [q_proj, v_proj, lm_head] }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! adapter lora { targets = [q_proj, v_proj] }
//! ```
//!
//! ## Fix safety
//! Unsafe: something else is trained.
//!
//! ## References
//! - <https://github.com/huggingface/peft/issues/2777>
//! - <https://github.com/huggingface/peft/issues/2018>
//! - TRL, `trainer/sft_trainer.py`: "Applying a PEFT adapter to `lm_head` is not supported"

use memspec::plan::Targets;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// The modules that share a weight.
const TIED: [&str; 2] = ["lm_head", "embed_tokens"];

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.model.tied_embeddings && setup.adapter.is_some())?;
        let adapter = setup.adapter.as_ref()?;
        let is_tied = |name: &&String| TIED.contains(&name.rsplit('.').next().unwrap_or(name));
        let (setting, name) = match (adapter.targets.iter().find(is_tied), adapter.train_whole.iter().find(is_tied)) {
            (Some(name), _) => ("adapter.targets", name),
            (None, Some(name)) => ("adapter.train_whole", name),
            (None, None) => return None,
        };
        let finding = Finding::new(
            rule,
            format!(
                "`lm_head` and `embed_tokens` of `{}` are one weight, and `{name}` is trained apart",
                setup.model_name
            ),
        )
        .at(plan.written, setting, "drifts away from the other")
        .help("leave it out: an adapter on the blocks teaches as much");
        let written = plan.written.plan.adapter.as_ref()?.targets.as_ref();
        let rest = match written.and_then(|targets| targets.one()) {
            Some(Targets::Modules(names)) if setting == "adapter.targets" => {
                names.iter().filter(|name| !is_tied(name)).cloned().collect::<Vec<_>>()
            }
            _ => Vec::new(),
        };
        if setting == "adapter.train_whole" {
            return Some(finding.fix(context.remove(plan, setting, Applicability::Unsafe)));
        }
        let fix = (!rest.is_empty())
            .then(|| context.set(plan, setting, &format!("[{}]", rest.join(", ")), Applicability::Unsafe));
        Some(finding.fix(fix.flatten()))
    })
}
