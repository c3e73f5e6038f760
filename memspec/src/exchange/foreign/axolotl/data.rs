//! What axolotl trains and evaluates on.

use serde_yaml::{Mapping, Value as Yaml};

use super::super::peft::{self, names};
use super::super::read::{Reading, scalar};
use super::super::write::{Writing, yaml};

pub(super) fn read(file: &mut Reading<'_>) {
    let format = match sets(file, "datasets") {
        Some((path, kind)) => {
            file.set_word("data.path", path, "datasets");
            format(&kind)
        }
        None => None,
    };
    if let Some(format) = format {
        file.set_word("data.format", format, "datasets");
    }
    let template = match file.text("chat_template_jinja") {
        Some(path) => Some((path, "chat_template_jinja")),
        None => {
            file.text("chat_template").filter(|name| name != "tokenizer_default").map(|name| (name, "chat_template"))
        }
    };
    if let Some((template, key)) = template {
        file.set_word("data.template", template, key);
    }
    let all = file.flag("train_on_inputs") || format == Some("text");
    file.set_word("data.loss_on", if all { "all" } else { "assistant" }, "train_on_inputs");
    // Packed rows are filled up anyway.
    let packed = file.flag("sample_packing");
    let flat = file.written("batch_flattening").is_some_and(|value| scalar(&value) != "false");
    let full = file.flag("pad_to_sequence_len");
    let (padding, key) = match (packed, flat, full) {
        (true, ..) => ("longest", "sample_packing"),
        (false, true, _) => ("none", "batch_flattening"),
        (false, false, true) => ("max", "pad_to_sequence_len"),
        (false, false, false) => ("longest", "pad_to_sequence_len"),
    };
    file.set_word("data.padding", padding, key);
}

/// Words that the vocabulary gets, unless their rows are trained beside an adapter: then nothing is to be said of them.
pub(super) fn read_words(file: &mut Reading<'_>) {
    let keys = ["tokens", "special_tokens.additional_special_tokens"];
    for key in keys {
        if file.written(key).is_some_and(|words| words.is_mapping()) {
            file.aside(key, "a list of words is read");
        }
    }
    let mut listed = keys.map(|key| (key, names(file.written(key))));
    listed.iter_mut().for_each(|(_, words)| words.retain(|word| !word.is_empty()));
    let Some((key, _)) = listed.iter().find(|(_, words)| !words.is_empty()) else { return };
    if file.written("peft_trainable_token_indices").is_some() {
        return file.aside(key, "rows of `peft_trainable_token_indices` are trained");
    }
    let words = listed.iter().flat_map(|(_, words)| words);
    file.set("data.new_tokens", peft::words(words.map(String::as_str)), key);
}

pub(super) fn write_words(plan: &mut Writing) {
    if let Some(words) = plan.take("data.new_tokens").filter(|words| words.as_array().is_some_and(|n| !n.is_empty())) {
        plan.put("tokens", yaml(&words));
    }
}

/// The keys that decide the order of samples, by the word for what they decide; the first that is set does.
const ORDERS: [(&str, &str); 2] = [("sequential", "curriculum_sampling"), ("by_length", "group_by_length")];

pub(super) fn read_order(file: &mut Reading<'_>) {
    if let Some((order, key)) = ORDERS.into_iter().find(|(_, key)| file.flag(key)) {
        file.set_word("data.order", order, key);
    }
}

pub(super) fn write_order(plan: &mut Writing) {
    let order = plan.take_word("data.order");
    if let Some((_, key)) = ORDERS.into_iter().find(|(name, _)| order.as_deref() == Some(name)) {
        plan.put(key, true);
    }
}

/// The first of a list of datasets, and its type.
fn sets(file: &mut Reading<'_>, key: &str) -> Option<(String, String)> {
    let listed = file.written(key)?;
    let list = listed.as_sequence().map(Vec::as_slice).unwrap_or_default();
    if list.len() > 1 {
        file.aside(key, "a plan has one file of samples: the first is taken");
    }
    let Some(first) = list.first().filter(|first| first.is_mapping()) else {
        file.refuse(key, "it is a list, each with its `path` and `type`");
        return None;
    };
    let files = first.get("data_files").map(|files| files.as_sequence().and_then(|list| list.first()).unwrap_or(files));
    let path = files.filter(|files| files.is_string()).or(first.get("path")).map(scalar).unwrap_or_default();
    let kind = first.get("type").map(scalar).unwrap_or_default();
    (!path.is_empty()).then_some((path, kind))
}

/// What a record of that type is; `None`: a plan has no word for it.
fn format(kind: &str) -> Option<&'static str> {
    match kind.split([':', '.']).next().unwrap_or(kind) {
        "chat_template" | "sharegpt" => Some("chat"),
        "alpaca" => Some("instruction"),
        "completion" | "pretrain" => Some("text"),
        _ => None,
    }
}

pub(super) fn write(plan: &mut Writing) {
    let format = plan.take_word("data.format");
    let kind = kind(plan);
    match plan.take_word("data.path") {
        Some(path) => plan.put("datasets", list(&path, kind)),
        None if plan.says("data.format") => {
            plan.lose("data.format", "a type stands with its dataset, and there is none")
        }
        None => {}
    }
    if plan.says("data.format") && format.as_deref() == Some("auto") {
        plan.lose("data.format", "a dataset has a type: `chat_template` is written");
    }
    if let Some(template) = plan.take_word("data.template") {
        let key = if template.ends_with(".jinja") { "chat_template_jinja" } else { "chat_template" };
        plan.put(key, template);
    }
    let all = plan.take_word("data.loss_on").as_deref() != Some("assistant");
    plan.put_unless_default("train_on_inputs", all);
    if !all && kind == "completion" && plan.get("data.path").is_some() {
        plan.lose("data.loss_on", "of plain texts every token counts");
    }
    let packed = plan.get("data.packing") == Some(true.into());
    match plan.take_word("data.padding").as_deref() {
        Some("none" | "max") if packed => plan.lose("data.padding", "packed rows are filled up anyway"),
        Some("none") => plan.put("batch_flattening", true),
        Some("max") => plan.put("pad_to_sequence_len", true),
        _ => {}
    }
}

/// The type of a plan's datasets.
fn kind(plan: &Writing) -> &'static str {
    match plan.get("data.format").as_ref().and_then(|format| format.as_str()) {
        Some("instruction") => "alpaca",
        Some("text") => "completion",
        _ => "chat_template",
    }
}

/// One dataset.
fn list(path: &str, kind: &str) -> Yaml {
    let mut set = Mapping::new();
    set.insert("path".into(), path.into());
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("json" | "jsonl") => _ = set.insert("ds_type".into(), "json".into()),
        Some("parquet") => _ = set.insert("ds_type".into(), "parquet".into()),
        _ => {}
    }
    set.insert("type".into(), kind.into());
    Yaml::Sequence(vec![Yaml::Mapping(set)])
}

pub(super) fn read_evaluation(file: &mut Reading<'_>) {
    let told = sets(file, "test_datasets").map(|(path, _)| (path, "test_datasets"));
    let part = file.number("val_set_size").is_some_and(|share| share > 0.0);
    let path = told.or_else(|| file.word("data.path").filter(|_| part).map(|path| (path, "val_set_size")));
    let off = file.text("eval_strategy").is_some_and(|strategy| strategy == "no");
    let Some((path, key)) = path.filter(|_| !off) else {
        for key in ["eval_steps", "evals_per_epoch", "eval_batch_size", "eval_strategy"] {
            if file.written(key).is_some() {
                file.aside(key, "nothing is evaluated");
            }
        }
        return;
    };
    file.set_word("data.eval_path", path, key);
    match file.written("eval_steps").and_then(|_| file.number("eval_steps")) {
        Some(steps) if steps >= 1.0 => file.set_number("eval.every", steps, "eval_steps"),
        Some(_) => file.aside("eval_steps", "a plan counts steps between evaluations"),
        None if file.written("evals_per_epoch").is_some() => {
            file.aside("evals_per_epoch", "a plan counts steps between evaluations");
        }
        None => {}
    }
    let key = if file.written("eval_batch_size").is_some() { "eval_batch_size" } else { "micro_batch_size" };
    if let Some(samples) = file.number(key) {
        file.set_number("eval.micro_batch", samples, key);
    }
}

pub(super) fn write_evaluation(plan: &mut Writing) {
    let Some(path) = plan.take_word("data.eval_path") else {
        return plan.lose_evaluation();
    };
    let kind = kind(plan);
    plan.put("test_datasets", list(&path, kind));
    if let Some(every) = plan.take("eval.every") {
        plan.put("eval_steps", yaml(&every));
    }
    if let Some(samples) = plan.take("eval.micro_batch") {
        plan.put("eval_batch_size", yaml(&samples));
    }
}
