//! What of other trainers' example files is understood, a line each: `cargo run -p memspec-lint --example imports -- axolotl FOLDER`.
//!
//! A line is the file's class, its path, and the keys in it that are not understood. Fails where less than 95 % of the files of supervised
//! fine-tuning are understood completely. `.ci/run corpus` fetches the folders, and compares with `tests/corpus/`.

mod corpus;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use memspec::exchange::foreign::{NOT_UNDERSTOOD, NoteKind, Trainer, detect, read};
use memspec::plan::{Document, Source};
use serde_yaml::{Mapping, Value};

/// Of the files of supervised fine-tuning.
const UNDERSTOOD: f64 = 0.95;

#[derive(Parser)]
struct Arguments {
    /// Whose files: axolotl or llamafactory, whose version 1 is another trainer
    trainer: String,
    /// The folder
    folder: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(trainer) = Trainer::ALL.iter().copied().find(|trainer| trainer.name() == arguments.trainer) else {
        eprintln!("`{}` is no trainer whose files are read", arguments.trainer);
        return ExitCode::from(2);
    };
    let files = match corpus::examples(&arguments.folder) {
        Ok(files) => files,
        Err(error) => {
            eprintln!("{}: {error}", arguments.folder.display());
            return ExitCode::from(2);
        }
    };
    let (mut supervised, mut whole) = (0, 0);
    for path in &files {
        let name = path.strip_prefix(&arguments.folder).unwrap_or(path).display().to_string();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let root = serde_yaml::from_str(&text);
        let trainer = detect(&text).unwrap_or(trainer);
        let class = root.as_ref().map_or("no mapping", |root: &Mapping| class(trainer, root));
        let keys = match class {
            "sft" => unknown(&read(Source { name: name.clone(), text }, trainer)),
            _ => Vec::new(),
        };
        supervised += usize::from(class == "sft");
        whole += usize::from(class == "sft" && keys.is_empty());
        let keys = if keys.is_empty() { String::new() } else { format!(": {}", keys.join(", ")) };
        println!("{class:12} {name}{keys}");
    }
    let share = whole as f64 / supervised.max(1) as f64;
    eprintln!(
        "{}: {} files, {supervised} of supervised fine-tuning, {whole} understood completely ({:.1} %)",
        trainer.title(),
        files.len(),
        100.0 * share
    );
    if share >= UNDERSTOOD { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is not understood: keys, and any other mistake by its code.
fn unknown(document: &Document) -> Vec<String> {
    let notes = document.foreign.iter().flat_map(|foreign| &foreign.notes);
    let keys = notes
        .filter(|note| matches!(note.kind, NoteKind::NotUnderstood | NoteKind::NotCosted))
        .map(|note| note.name.clone());
    let mistakes = document.problems.iter().filter(|problem| problem.code != NOT_UNDERSTOOD);
    keys.chain(mistakes.map(|problem| format!("<{}>", problem.code))).collect()
}

/// What a file is for, as its trainer would see it.
fn class(trainer: Trainer, root: &Mapping) -> &'static str {
    let is_set = |key: &str| root.get(key).is_some_and(|value| !value.is_null() && value != &Value::Bool(false));
    match trainer {
        Trainer::Axolotl => {
            let sets = root.get("datasets").and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
            let diffusion = root.get("plugins").and_then(Value::as_sequence).is_some_and(|plugins| {
                plugins.iter().any(|plugin| plugin.as_str().is_some_and(|plugin| plugin.contains("diffusion")))
            });
            match () {
                () if !is_set("base_model") => "no training",
                // On machines of others, by an interface.
                () if is_set("hatchery") => "elsewhere",
                () if is_set("rl") => "preferences",
                () if is_set("reward_model") || is_set("process_reward_model") => "reward",
                () if is_set("diffusion") || is_set("diffusion_lm") || diffusion => "diffusion",
                () if is_set("pretraining_dataset") || sets.is_empty() => "pretraining",
                // Plain text: no answer is told from its question.
                () if sets.iter().all(|set| set.get("type").is_some_and(|kind| kind == "completion")) => "completion",
                () => "sft",
            }
        }
        Trainer::Llamafactory => {
            let is = |key: &str, word: &str| root.get(key).is_some_and(|value| value == word);
            match () {
                () if !is_set("model_name_or_path") || !is_set("do_train") => "no training",
                () if is("stage", "pt") => "pretraining",
                () if is("stage", "rm") => "reward",
                () if is_set("stage") && !is("stage", "sft") => "preferences",
                () => "sft",
            }
        }
        Trainer::LlamafactoryV1 if !is_set("train_dataset") => "no training",
        Trainer::LlamafactoryV1 | Trainer::Trl => "sft",
    }
}
