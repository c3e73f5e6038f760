//! # unknown-skip-module (QNT013)
//!
//! ## What it does
//! Finds names in `quantize { skip = [..] }` that no linear of the model has.
//!
//! ## Why is this bad?
//! The linear that was meant is packed all the same, and nothing says so.
//!
//! ## Example
//! ```mem
//! quantize nf4 { skip = [lm_head, dwon_proj] }
//! ```
//!
//! ## Use instead
//! ```mem
//! quantize nf4 { skip = [lm_head, down_proj] }
//! ```

use memspec::model::Architecture;
use memspec::plan::nearest;
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| unknown(setup).is_some())?;
        let name = unknown(setup)?;
        let known = parts(&setup.model);
        let finding = Finding::new(rule, format!("`{}` has no linear `{name}` to leave as it is", setup.model_name))
            .at(plan.written, "quantize.skip", "what was meant is packed");
        Some(match nearest(name, known.iter().map(String::as_str)) {
            Some(nearest) => finding.help(format!("did you mean `{nearest}`?")),
            None => finding.help(format!("parts of its linears' names: {}", known.join(", "))),
        })
    })
}

/// A plain name that no linear of the model has a part of. Longer paths, and those of a vision tower, are not looked at.
fn unknown(setup: &Setup) -> Option<&str> {
    let skip = &setup.quantize.as_ref().filter(|_| setup.model.vision.is_none())?.skip;
    let known = parts(&setup.model);
    skip.iter().map(String::as_str).find(|name| !name.contains('.') && !known.iter().any(|part| part == name))
}

/// The parts of the names of linears that could be packed, or left as they are: `mlp`, `down_proj`.
fn parts(model: &Architecture) -> Vec<String> {
    let linears = [
        model.block_linears(),
        model.linear_attention_linears(),
        model.shared_expert_linears(),
        model.dense_mlp_linears(),
        model.router().into_iter().collect(),
        model.expert_linears(),
        vec![model.head_linear()],
    ];
    let modules = linears.into_iter().flatten().map(|linear| linear.module);
    let mut parts: Vec<String> =
        modules.flat_map(|module| module.split('.').map(str::to_owned).collect::<Vec<_>>()).collect();
    // The default, whatever the head is called.
    parts.push("lm_head".to_owned());
    parts.sort();
    parts.dedup();
    parts
}
