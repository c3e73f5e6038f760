//! # unknown-target (LOR001)
//!
//! ## What it does
//! Finds adapter targets that the model does not have: `q_porj`, or `gate_proj` on a model whose gate and up projections
//! are one linear.
//!
//! ## Why is this bad?
//! Trainers stop with "Target modules not found in the base model" after the weights are loaded; where one of several names
//! matches, some leave the others out without a word and train fewer adapters than was meant.
//!
//! ## Example
//! ```mem
//! adapter lora {
//!   targets = [q_proj, v_porj]
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! adapter lora {
//!   targets = [q_proj, v_proj]
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: the nearest name is a guess.
//!
//! ## References
//! - <https://github.com/hiyouga/LLaMA-Factory/issues/1785>

use memspec::plan::{Edit, Place};

use crate::context::{Context, Seen};
use crate::diagnostic::{Finding, from_unresolved};
use crate::fix::Fix;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in &context.plans {
        for problem in plan.unresolved("unknown-target") {
            let place = element(context, plan, &problem.message);
            let fix = place.zip(problem.nearest.as_deref()).map(|(place, nearest)| {
                let quoted = context.text(place.value.clone()).starts_with('"');
                let text = if quoted { format!("\"{nearest}\"") } else { nearest.to_owned() };
                Fix::risky(format!("use `{nearest}`"), vec![Edit { range: place.value.clone(), text }])
            });
            for mut finding in from_unresolved(plan.written, std::slice::from_ref(problem)) {
                if let (Some(place), Some(label)) = (place, finding.labels.first_mut()) {
                    label.span = place.value.clone();
                    label.text = "the model has no such module".into();
                }
                if finding.help.is_none() {
                    finding.help = problem.nearest.as_ref().map(|nearest| format!("did you mean `{nearest}`?"));
                }
                findings.push(Finding { severity: rule.severity, ..finding.fix(fix.clone()) });
            }
        }
    }
    findings
}

/// Where the name that the message speaks of is written: the setting's value, or an element of its list.
fn element<'a>(context: &Context<'_>, plan: &Seen<'a>, message: &str) -> Option<&'a Place> {
    let named = |place: &&Place| {
        let name = context.text(place.value.clone()).trim_matches(['"', '\'']);
        !name.is_empty() && message.contains(&format!("`{name}`"))
    };
    let targets = plan.written.spans.iter().filter(|(path, _)| path.starts_with("adapter.targets"));
    targets.map(|(_, place)| place).find(named)
}
