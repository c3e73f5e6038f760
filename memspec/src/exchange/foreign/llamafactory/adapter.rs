//! What LLaMA-Factory trains: adapters, and of models with a tower which parts.

use serde_yaml::Value as Yaml;

use super::super::peft::{self, adapt_found, has_tower, is_parameter, means_experts};
use super::super::read::{Reading, scalar};
use super::super::write::{Writing, float, yaml};
use crate::plan::Value;

/// Each of them makes the vocabulary larger (`model/patcher.py:279`).
const RESIZED: [&str; 4] = ["resize_vocab", "add_tokens", "add_special_tokens", "new_special_tokens_config"];

/// What is trained of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Lora,
    Oft,
    Freeze,
    Full,
}

/// `finetuning_type`; `None`: it is none that is known.
pub(super) fn method(file: &mut Reading<'_>) -> Option<Method> {
    match file.text("finetuning_type").as_deref() {
        Some("lora") => Some(Method::Lora),
        Some("oft") => Some(Method::Oft),
        Some("freeze") => Some(Method::Freeze),
        Some("full") => Some(Method::Full),
        _ => None,
    }
}

pub(super) fn read(file: &mut Reading<'_>) {
    let method = method(file);
    if method != Some(Method::Lora) {
        unused(file, &["use_dora", "lora_rank", "lora_alpha", "lora_target"], "it counts with `finetuning_type: lora`");
    }
    if method != Some(Method::Oft) {
        unused(file, &["oft_rank", "oft_block_size", "oft_target"], "it counts with `finetuning_type: oft`");
    }
    match method {
        Some(Method::Lora) => lora(file),
        Some(Method::Oft) => oft(file),
        Some(Method::Freeze) => {
            file.differ("finetuning_type", "some blocks are trained: it is costed as if all were");
        }
        Some(Method::Full) => {}
        None => file.refuse("finetuning_type", "it is lora, oft, freeze or full"),
    }
    if matches!(method, Some(Method::Lora | Method::Oft)) {
        return train_whole(file);
    }
    unused(file, &["additional_target"], "without an adapter there is nothing beside it");
    if RESIZED.into_iter().any(|key| is_resized(file, key)) {
        file.differ("resize_vocab", "the vocabulary gets a few more words");
    }
    let tower = tower(file);
    for key in ["freeze_vision_tower", "freeze_multi_modal_projector"] {
        if file.flag(key) && tower == Some(true) {
            // `model/adapter.py:47`, `get_forbidden_modules`
            file.differ(key, "this part is not trained: it is costed as if it were");
        }
    }
}

/// Notes keys that another `finetuning_type` reads.
fn unused(file: &mut Reading<'_>, keys: &[&str], why: &str) {
    for key in keys {
        if file.written(key).is_some() {
            file.aside(key, why);
        }
    }
}

fn lora(file: &mut Reading<'_>) {
    let kind = if file.flag("use_dora") { "dora" } else { "lora" };
    file.open("adapter", kind, "finetuning_type");
    let rank = file.number("lora_rank");
    if let Some(rank) = rank {
        file.set_number("adapter.rank", rank, "lora_rank");
    }
    let given = file.written("lora_alpha").and_then(|_| file.number("lora_alpha")).filter(|alpha| *alpha != 0.0);
    if let Some(alpha) = given.or(rank.map(|rank| 2.0 * rank)) {
        file.set_number("adapter.alpha", alpha, "lora_alpha");
    }
    // PEFT makes adapters float32 beside weights in 16 bits, and `model/adapter.py:286` all that is trained.
    file.set_word("adapter.dtype", "f32", "finetuning_type");
    read_targets(file, "lora_target");
}

/// Rotations in blocks of `n` features have `n - 1` numbers for every two features of a linear's input; adapters of rank `n / 4` as many where a
/// linear is square.
fn oft(file: &mut Reading<'_>) {
    file.open("adapter", "lora", "finetuning_type");
    if file.number("oft_rank").is_some_and(|rank| rank != 0.0) {
        file.uncosted("oft_rank", "blocks of another size in each linear are not costed: `oft_block_size` gives one");
    }
    let block = file.number("oft_block_size").unwrap_or(32.0);
    let how = "rotations are costed as adapters about as large: a quarter of `oft_block_size` is their rank";
    file.differ("finetuning_type", how);
    file.set_number("adapter.rank", (block / 4.0).floor().max(1.0), "oft_block_size");
    file.set_word("adapter.dtype", "f32", "finetuning_type");
    read_targets(file, "oft_target");
}

/// Names that a text has with commas, or a list.
fn names(value: Option<Yaml>) -> Vec<String> {
    match value {
        None => Vec::new(),
        Some(Yaml::Sequence(names)) => names.iter().map(scalar).collect(),
        Some(one) => scalar(&one).split(',').map(|name| name.trim().to_owned()).collect(),
    }
}

/// The model has a vision tower; `None`: the catalog does not have it.
fn tower(file: &mut Reading<'_>) -> Option<bool> {
    let model = file.text("model_name_or_path").unwrap_or_default();
    has_tower(&model)
}

fn read_targets(file: &mut Reading<'_>, key: &'static str) {
    let names = names(file.value(key));
    let frozen = file.flag("freeze_vision_tower");
    let tower = tower(file);
    if names != ["all"] {
        file.set("adapter.targets", peft::words(names.iter().map(String::as_str)), key);
        if tower == Some(true) && frozen {
            // `model/model_utils/visual.py:196`, `patch_target_modules`
            file.differ(key, "the tower is left alone: its linears of the same names are costed with adapters");
        }
        return;
    }
    // `model/model_utils/misc.py:29`, `find_all_linear_modules`: all but the head, the projector and, where it is frozen, the tower.
    let model = file.text("model_name_or_path").unwrap_or_default();
    adapt_found(file, &model, key);
    if !frozen && tower != Some(false) {
        file.set("adapter.vision", Value::Bool(true), "freeze_vision_tower");
        file.differ("freeze_vision_tower", "the projector gets no adapters: it is costed with them");
    }
}

fn is_resized(file: &mut Reading<'_>, key: &'static str) -> bool {
    if key == "resize_vocab" { file.flag(key) } else { file.written(key).is_some() }
}

/// Words that the vocabulary gets.
pub(super) fn read_words(file: &mut Reading<'_>) {
    let listed = ["add_tokens", "add_special_tokens"].map(|key| (key, names(file.written(key))));
    let words: Vec<String> =
        listed.iter().flat_map(|(_, words)| words.clone()).filter(|word| !word.is_empty()).collect();
    if let Some((key, _)) = listed.iter().find(|(_, words)| !words.is_empty()) {
        file.set("data.new_tokens", peft::words(words.iter().map(String::as_str)), key);
    }
}

pub(super) fn write_words(plan: &mut Writing) {
    let Some(words) = plan.take("data.new_tokens").filter(|words| words.as_array().is_some_and(|n| !n.is_empty()))
    else {
        return;
    };
    let list = words.as_array().map(Vec::as_slice).unwrap_or_default();
    let whole = plan.get("adapter.train_whole").is_some_and(|named| named.as_array().is_some_and(|n| !n.is_empty()));
    if list
        .iter()
        .any(|word| word.as_str().is_none_or(|word| word.is_empty() || word.contains(',') || word.trim() != word))
    {
        plan.lose("data.new_tokens", "a comma separates words");
    } else if plan.get("adapter.kind").is_some() && !whole {
        plan.lose("data.new_tokens", "LLaMA-Factory trains embeddings and head whole where words are new");
    } else {
        plan.put("add_tokens", joined(&words));
    }
}

/// Modules that are trained in full; of a vocabulary that grows, the embeddings and the head (`model/adapter.py:222`).
fn train_whole(file: &mut Reading<'_>) {
    let named = names(file.written("additional_target"));
    let resized = RESIZED.into_iter().find(|key| is_resized(file, key));
    if let Some(key) = resized {
        file.differ(key, "the vocabulary gets a few more words");
    }
    match (named.as_slice(), resized) {
        ([], Some(key)) => {
            file.set("adapter.train_whole", peft::words(["embed_tokens", "lm_head"]), key);
        }
        ([], None) => {}
        (named, _) => {
            file.set("adapter.train_whole", peft::words(named.iter().map(String::as_str)), "additional_target")
        }
    }
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("adapter.kind") else { return plan.put("finetuning_type", "full") };
    plan.put("finetuning_type", "lora");
    plan.put_unless_default("use_dora", kind == "dora");
    let rank = plan.take("adapter.rank").and_then(|rank| rank.as_f64()).unwrap_or_default();
    plan.put("lora_rank", float(rank));
    match plan.take("adapter.alpha") {
        Some(alpha) if alpha.as_f64() == Some(2.0 * rank) => {}
        Some(alpha) if alpha.as_f64() == Some(0.0) => {
            plan.lose("adapter.alpha", "0 is twice the rank under LLaMA-Factory");
        }
        Some(alpha) => plan.put("lora_alpha", yaml(&alpha)),
        None => {}
    }
    if plan.get("adapter.dtype").is_some_and(|dtype| dtype == "f32") {
        plan.take("adapter.dtype");
    } else if plan.says("adapter.dtype") {
        plan.lose("adapter.dtype", "adapters are float32 under LLaMA-Factory");
    }
    write_targets(plan);
    if let Some(named) =
        plan.take("adapter.train_whole").filter(|named| named.as_array().is_some_and(|n| !n.is_empty()))
    {
        plan.put("additional_target", joined(&named));
    }
}

fn write_targets(plan: &mut Writing) {
    match plan.take("adapter.targets") {
        Some(serde_json::Value::Array(names)) if names.iter().any(is_parameter) => {
            plan.lose("adapter.targets", "LLaMA-Factory adapts modules, no parameters");
        }
        Some(names) if names.is_array() && joined(&names) != "all" => plan.put("lora_target", joined(&names)),
        Some(word) if word == "all_linear" && means_experts(plan) => {
            plan.lose("adapter.targets", "`all` leaves the experts out: list the modules");
        }
        Some(word) if word == "all_linear" => {
            plan.put("lora_target", "all");
            let tower = plan.get("model").and_then(|model| has_tower(model.as_str()?));
            if tower != Some(false) && plan.get("adapter.vision") == Some(true.into()) {
                plan.take("adapter.vision");
                plan.put("freeze_vision_tower", false);
            }
        }
        _ => plan.lose("adapter.targets", "LLaMA-Factory takes names of modules: list them"),
    }
}

/// A list of names as LLaMA-Factory takes it.
fn joined(names: &serde_json::Value) -> String {
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(|name| name.as_str()).collect::<Vec<_>>().join(",")
}
