//! Adapters as PEFT takes them: names of modules, and of parameters where a mixture's experts are none.

use serde_yaml::Value as Yaml;

use super::read::{Reading, scalar};
use super::write::{Writing, yaml};
use crate::model::catalog;
use crate::plan::{Item, Targets, Value};

/// A trainer's keys for what is adapted.
#[derive(Clone, Copy)]
pub(super) struct TargetKeys {
    /// Names of modules.
    pub(super) modules: &'static str,
    /// Names of parameters; empty: it has no such key.
    pub(super) parameters: &'static str,
}

/// The model has a vision tower; `None`: the catalog does not have it.
pub(super) fn has_tower(model: &str) -> Option<bool> {
    catalog::get(model).map(|model| model.vision.is_some())
}

/// The model's tower has linears of one of these names.
pub(super) fn tower_has(model: &str, names: &[&str]) -> bool {
    let tower = catalog::get(model).and_then(|model| model.vision);
    tower.is_some_and(|tower| tower.block_linears().iter().any(|linear| names.contains(&linear.leaf())))
}

/// One name or a list of them.
pub(super) fn names(value: Option<Yaml>) -> Vec<String> {
    match value {
        None => Vec::new(),
        Some(Yaml::Sequence(names)) => names.iter().map(scalar).collect(),
        Some(one) => vec![scalar(&one)],
    }
}

/// Names as a plan has them.
pub(super) fn words<'a>(names: impl IntoIterator<Item = &'a str>) -> Value {
    let word = |name: &str| Item { value: Value::Word(name.to_owned()), span: 0..0 };
    Value::List(names.into_iter().map(word).collect())
}

/// The name is one of experts' parameters, and of no module.
pub(super) fn is_parameter(name: &serde_json::Value) -> bool {
    name.as_str().is_some_and(|name| name.starts_with("experts."))
}

/// The names of all linears, where they are not those that PEFT means by `all-linear`: it takes some of them for experts.
pub(super) fn found_linears(model: &str) -> Option<Vec<String>> {
    let model = catalog::get(model)?;
    let all = model.resolve_targets(&Targets::AllLinear).ok()?;
    Some(model.linear_names()).filter(|names| model.expert_names().is_some() && *names != all)
}

/// Every linear of the blocks that is found by its type is adapted.
pub(super) fn adapt_found(file: &mut Reading<'_>, model: &str, key: &str) {
    match found_linears(model) {
        Some(names) => file.set("adapter.targets", words(names.iter().map(String::as_str)), key),
        None => file.set_word("adapter.targets", "all_linear", key),
    }
}

/// The plan adapts what PEFT means by `all-linear`, which the same word of a trainer that looks for linears itself does not mean for this model.
pub(super) fn means_experts(plan: &Writing) -> bool {
    plan.get("model").and_then(|model| found_linears(model.as_str()?)).is_some()
}

/// Every linear is adapted, the tower's too.
pub(super) fn adapt_all(file: &mut Reading<'_>, model: &str, key: &str) {
    file.set_word("adapter.targets", "all_linear", key);
    if has_tower(model) == Some(true) {
        file.set("adapter.vision", Value::Bool(true), key);
    }
}

/// Modules and parameters of these names are.
pub(super) fn adapt(file: &mut Reading<'_>, modules: &[String], parameters: &[String], keys: TargetKeys) {
    // `mlp.experts.gate_up_proj`, as PEFT names a parameter, is `experts.gate_up_proj` in a plan.
    let parameters = parameters.iter().map(|name| name.strip_prefix("mlp.").unwrap_or(name));
    let all = modules.iter().map(String::as_str).chain(parameters);
    let key = if modules.is_empty() { keys.parameters } else { keys.modules };
    file.set("adapter.targets", words(all), key);
}

/// Writes a plan's list of names.
pub(super) fn write_names(plan: &mut Writing, names: &[serde_json::Value], keys: TargetKeys) {
    let modules: Vec<Yaml> = names.iter().filter(|name| !is_parameter(name)).map(yaml).collect();
    let parameters: Vec<Yaml> = names
        .iter()
        .filter(|name| is_parameter(name))
        .filter_map(|name| Some(format!("mlp.{}", name.as_str()?).into()))
        .collect();
    if !modules.is_empty() {
        plan.put(keys.modules, Yaml::Sequence(modules));
    }
    if !parameters.is_empty() {
        plan.put(keys.parameters, Yaml::Sequence(parameters));
    }
}

/// Writes the names that a word means for the plan's model, where the catalog has it.
pub(super) fn write_word(plan: &mut Writing, word: &str, keys: TargetKeys) {
    let model = plan.get("model").and_then(|model| catalog::get(model.as_str()?));
    match model.and_then(|model| model.resolve_targets(&Targets::from(word)).ok()) {
        Some(names) => {
            let names: Vec<_> = names.into_iter().map(serde_json::Value::from).collect();
            write_names(plan, &names, keys);
            plan.rename("adapter.targets", "written as the names that it means for this model");
        }
        None => plan.lose("adapter.targets", "names of modules are needed, and the catalog does not have the model"),
    }
}

/// Sees to `adapter.vision` where every linear is adapted.
pub(super) fn write_vision(plan: &mut Writing) {
    let tower = plan.get("model").and_then(|model| has_tower(model.as_str()?)).unwrap_or(false);
    let adapted = plan.get("adapter.vision") == Some(true.into());
    if tower == adapted {
        plan.take("adapter.vision");
    } else if tower {
        plan.lose("adapter.vision", "every linear is the tower's, too: list the modules instead");
    }
}
