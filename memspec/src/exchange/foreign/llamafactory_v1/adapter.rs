//! What LLaMA-Factory's version 1 trains: an adapter, the last blocks, or all.

use super::super::peft::{adapt_found, has_tower, is_parameter, means_experts, words};
use super::super::read::{Reading, scalar};
use super::super::write::Writing;
use crate::plan::Value;

pub(super) fn read(file: &mut Reading<'_>) {
    match file.text("peft_config.name").as_deref() {
        Some("lora") => return lora(file),
        Some("freeze") => file.differ("peft_config.name", "some blocks are trained: it is costed as if all were"),
        Some(_) => file.refuse("peft_config.name", "it is lora or freeze"),
        None => {}
    }
    for key in ["peft_config.target_modules", "peft_config.use_dora"] {
        if file.written(key).is_some() {
            file.aside(key, "it counts with `peft_config.name: lora`");
        }
    }
}

fn lora(file: &mut Reading<'_>) {
    let kind = if file.flag("peft_config.use_dora") { "dora" } else { "lora" };
    file.open("adapter", kind, "peft_config.name");
    // PEFT makes adapters float32 beside weights in 16 bits.
    file.set_word("adapter.dtype", "f32", "peft_config.name");
    let key = "peft_config.target_modules";
    let names = match file.value(key) {
        Some(serde_yaml::Value::Sequence(names)) => names.iter().map(scalar).collect(),
        Some(one) => vec![scalar(&one)],
        None => Vec::new(),
    };
    if names != ["all"] {
        return file.set("adapter.targets", words(names.iter().map(String::as_str)), key);
    }
    // `plugins/model_plugins/peft.py:73`, `_find_all_linear_modules`: all but the head, a tower's and a projector's, too.
    let model = file.text("model").unwrap_or_default();
    adapt_found(file, &model, key);
    if has_tower(&model) != Some(false) {
        file.set("adapter.vision", Value::Bool(true), key);
    }
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("adapter.kind") else { return };
    plan.put("peft_config.name", "lora");
    plan.put_unless_default("peft_config.use_dora", kind == "dora");
    if plan.take_word("adapter.dtype").as_deref() != Some("f32") && plan.says("adapter.dtype") {
        plan.lose("adapter.dtype", "adapters are float32 under LLaMA-Factory");
    }
    match plan.take("adapter.targets") {
        Some(serde_json::Value::Array(names)) if names.iter().any(is_parameter) => {
            plan.lose("adapter.targets", "LLaMA-Factory adapts modules, no parameters");
        }
        Some(serde_json::Value::Array(names)) if names != ["all"] => {
            plan.put("peft_config.target_modules", super::super::write::yaml(&names.into()));
        }
        Some(word) if word == "all_linear" && means_experts(plan) => {
            plan.lose("adapter.targets", "`all` leaves the experts out: list the modules");
        }
        Some(word) if word == "all_linear" => {
            plan.put("peft_config.target_modules", "all");
            let tower = plan.get("model").and_then(|model| has_tower(model.as_str()?));
            let adapted = plan.get("adapter.vision") == Some(true.into());
            match (tower != Some(false), adapted) {
                (true, true) => _ = plan.take("adapter.vision"),
                (true, false) => plan.lose("adapter.vision", "`all` adapts a tower's linears, too"),
                (false, _) => {}
            }
        }
        _ => plan.lose("adapter.targets", "LLaMA-Factory takes names of modules: list them"),
    }
}
