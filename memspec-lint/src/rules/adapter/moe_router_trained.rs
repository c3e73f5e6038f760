//! # moe-router-trained (LOR005)
//!
//! ## What it does
//! Finds adapters on the router of a model with experts, by its name or through `all_linear`.
//!
//! ## Why is this bad?
//! The router decides which experts a token goes through. Trained on few samples it sends tokens to other experts than those that know
//! them, and which experts are used drifts. Unsloth leaves it out for that reason.
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen3-30B-A3B"
//! device = b200
//! engine = trl
//! adapter lora { rank = 4; targets = all_linear }
//! train { checkpointing = block }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen3-30B-A3B"
//! device = b200
//! engine = trl
//! adapter lora { rank = 4; targets = [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj] }
//! train { checkpointing = block }
//! ```
//!
//! ## Fix safety
//! Unsafe: the router is not trained then.
//!
//! ## References
//! - <https://github.com/modelscope/ms-swift/issues/5512>
//! - PEFT 0.21, `utils/transformers_weight_conversion.py`: which names mean the router

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| router(setup).is_some())?;
        let name = router(setup)?;
        let others: Vec<&str> =
            setup.adapter.as_ref()?.targets.iter().map(String::as_str).filter(|target| *target != name).collect();
        let fix = (!others.is_empty())
            .then(|| context.set(plan, "adapter.targets", &format!("[{}]", others.join(", ")), Applicability::Unsafe));
        Some(
            Finding::new(rule, format!("the router of `{}` gets an adapter", setup.model_name))
                .at(plan.written, "adapter.targets", format!("`{name}` chooses the experts"))
                .help("name the other modules, and leave the router as it is")
                .fix(fix.flatten()),
        )
    })
}

/// What the router is called, where it has an adapter.
fn router(setup: &memspec::setup::Setup) -> Option<&'static str> {
    let [router, ..] = setup.model.expert_names()?;
    setup.adapter.as_ref()?.targets.iter().any(|target| target == router).then_some(router)
}
