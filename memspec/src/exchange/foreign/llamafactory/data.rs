//! What LLaMA-Factory trains and evaluates on: names of `dataset_info.json`, or repositories of the hub.

use serde_yaml::Value as Yaml;

use super::super::read::{Reading, scalar};
use super::super::training_arguments;
use super::super::write::Writing;
use crate::plan::Value;

/// Batches are filled to a multiple of so many tokens (`train/sft/workflow.py:65`).
const MULTIPLE: f64 = 8.0;

pub(super) fn read(file: &mut Reading<'_>) {
    if let Some(path) = first(file, "dataset") {
        file.set_word("data.path", path, "dataset");
    }
    if file.written("dataset_dir").is_some() {
        file.aside("dataset_dir", "where the names of datasets are looked up");
    }
    let key = if file.flag("neat_packing") { "neat_packing" } else { "packing" };
    let packed = file.flag(key);
    file.set("data.packing", Value::Bool(packed), key);
    if packed && key == "packing" {
        file.differ(
            "packing",
            "samples of a row see each other, which takes no mask: `neat_packing: true` keeps them apart",
        );
    }
    let length = file.value("cutoff_len").and_then(|length| length.as_f64());
    if !packed && length.is_some_and(|length| length % MULTIPLE != 0.0) {
        file.differ("cutoff_len", "batches are filled up to a multiple of 8 tokens");
    }
    file.set_word("data.padding", "longest", "dataset");
    let all = file.flag("train_on_prompt");
    file.set_word("data.loss_on", if all { "all" } else { "assistant" }, "train_on_prompt");
}

/// The first of several datasets.
fn first(file: &mut Reading<'_>, key: &str) -> Option<String> {
    let names: Vec<String> = match file.written(key)? {
        Yaml::Sequence(names) => names.iter().map(scalar).collect(),
        one => scalar(&one).split(',').map(|name| name.trim().to_owned()).collect(),
    };
    if names.len() > 1 {
        file.aside(key, "a plan has one file of samples: the first is taken");
    }
    names.into_iter().next().filter(|name| !name.is_empty())
}

pub(super) fn write(plan: &mut Writing) {
    let path = plan.take_word("data.path");
    let eval = plan.get("data.eval_path");
    let eval = eval.as_ref().and_then(|path| path.as_str());
    if let Some(path) = &path {
        plan.put("dataset", path.as_str());
        let all = || [Some(&**path), eval].into_iter().flatten();
        if path.contains(',') {
            plan.lose("data.path", "a comma separates datasets");
        } else if all().all(is_repository) {
            plan.put("dataset_dir", "ONLINE");
        } else if all().any(is_file) {
            plan.lose("data.path", "`dataset` is a name in `dataset_info.json`: give this file one");
        }
    }
    let packed = plan.take("data.packing") == Some(true.into());
    plan.put_unless_default("neat_packing", packed);
    match plan.take_word("data.padding").as_deref() {
        Some("longest") | None => {}
        Some(_) => plan.lose("data.padding", "LLaMA-Factory fills samples to the batch's longest"),
    }
    let all = plan.take_word("data.loss_on").as_deref() != Some("assistant");
    plan.put_unless_default("train_on_prompt", all);
}

/// A repository of the hub, `owner/name`.
fn is_repository(path: &str) -> bool {
    path.split_once('/').is_some_and(|(owner, name)| !owner.starts_with('.') && !name.contains('/')) && !is_file(path)
}

/// A file on this machine.
fn is_file(path: &str) -> bool {
    let extension = path.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| ["json", "jsonl", "csv", "parquet", "arrow", "txt"].contains(&extension))
}

pub(super) fn read_evaluation(file: &mut Reading<'_>) {
    let during = file.text("eval_strategy").is_some_and(|strategy| strategy != "no" && strategy != "false");
    let key = if during { "eval_strategy" } else { "do_eval" };
    if !during && !file.flag("do_eval") {
        for key in ["eval_dataset", "val_size", "eval_steps"] {
            if file.written(key).is_some() {
                file.aside(key, "without `eval_strategy` nothing is evaluated");
            }
        }
        return;
    }
    let told = first(file, "eval_dataset").map(|path| (path, "eval_dataset"));
    let part = file.number("val_size").is_some_and(|share| share > 0.0);
    let path = told.or_else(|| file.word("data.path").filter(|_| part).map(|path| (path, "val_size")));
    let Some((path, from)) = path else {
        return file.refuse(key, "there is nothing to evaluate: `eval_dataset` or `val_size` is missing");
    };
    file.set_word("data.eval_path", path, from);
    training_arguments::read_evaluations(file, 500.0);
}

pub(super) fn write_evaluation(plan: &mut Writing) {
    let Some(path) = plan.take_word("data.eval_path") else {
        return plan.lose_evaluation();
    };
    if plan.get("data.path").is_some_and(|train| train == *path) {
        plan.put("val_size", 0.1);
    } else {
        plan.put("eval_dataset", path.as_str());
        if path.contains(',') {
            plan.lose("data.eval_path", "a comma separates datasets");
        }
    }
    training_arguments::write_evaluations(plan);
}
