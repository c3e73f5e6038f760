//! Other trainers' files: what they say as plans, and back.
#![cfg(all(feature = "lang", feature = "yaml"))]

use std::fmt::Write;

use memspec::exchange::foreign::{Trainer, begun, detect, edit, read, recognized, remove, write};
use memspec::plan::{Document, Plan, Source, apply, read_text};

/// The plan as `.mem`, the notes, the problems and where settings are written.
fn told(document: &Document) -> String {
    let mut text: String = document.plans.iter().map(|written| memspec::lang::write(&written.plan)).collect();
    for note in document.foreign.iter().flat_map(|foreign| &foreign.notes) {
        let line = note.span.as_ref().map_or(0, |span| document.source.position(span.start).0);
        let value = note.value.as_ref().map(|value| format!(": {value}")).unwrap_or_default();
        let nearest = note.nearest.as_ref().map(|name| format!(" ({name}?)")).unwrap_or_default();
        let _ = writeln!(text, "{:?} {line} {}{value} | {}{nearest}", note.kind, note.name, note.why);
    }
    for problem in &document.problems {
        let at = &document.source.text[problem.span.clone()];
        let _ = writeln!(text, "{}: {} | {at:?}", problem.code, problem.message);
    }
    text
}

fn opened(name: &str, text: &str) -> Document {
    recognized(read_text(name, text))
}

macro_rules! fixtures {
    ($trainer:literal: $($name:ident),+) => {$(
        #[test]
        fn $name() {
            let text = include_str!(concat!("fixtures/foreign/", $trainer, "/", stringify!($name), ".yaml"));
            let document = opened(concat!(stringify!($name), ".yaml"), text);
            insta::assert_snapshot!(concat!($trainer, "_", stringify!($name)), told(&document));
        }
    )+};
}

mod trl {
    use super::*;
    fixtures!("trl": lora, full_defaults, lora_defaults, qlora, fsdp, deepspeed, dpo);
}

mod axolotl {
    use super::*;
    fixtures!("axolotl": lora, qlora, full_defaults, fsdp, deepspeed, vision, mistakes);
}

mod llamafactory {
    use super::*;
    fixtures!("llamafactory": lora, defaults, qlora, full_z3, multimodal, packing, oft, freeze, asft, mistakes);
}

mod llamafactory_v1 {
    use super::*;
    fixtures!("llamafactory_v1": lora, full, qlora, shared_samples, mistakes);
}

#[test]
fn places_are_those_of_the_trainers_file() {
    let text = include_str!("fixtures/foreign/trl/lora.yaml");
    let document = opened("lora.yaml", text);
    let spans = &document.plans[0].spans;
    let at = |path: &str| spans.get(path).map(|place| &text[place.statement.clone()]);
    assert_eq!(at("train.micro_batch"), Some("per_device_train_batch_size: 2"));
    assert_eq!(at("adapter"), Some("use_peft: true"));
    assert_eq!(at("train.warmup"), Some("warmup_ratio: 0.03"));
    assert_eq!(at("data.context"), None, "a default stands nowhere");
    assert_eq!(spans.nearest("data.context").map(|place| &text[place.key.clone()]), Some("dataset_name"));
}

#[test]
fn files_are_known_by_their_keys() {
    assert_eq!(detect("model_name_or_path: m\ndataset_name: d\n"), Some(Trainer::Trl));
    assert_eq!(detect("base_model: m\ndatasets: []\n"), Some(Trainer::Axolotl));
    assert_eq!(detect("model_name_or_path: m\nstage: sft\ndo_train: true\n"), Some(Trainer::Llamafactory));
    assert_eq!(detect("model_name_or_path: m\ndo_train: true\n"), Some(Trainer::Trl));
    assert_eq!(detect("model: m\ntrain_dataset: d\n"), Some(Trainer::LlamafactoryV1));
    assert_eq!(detect("model: m\ntrain: {micro_batch: 1}\n# micro_batch_size\n"), None);
    assert_eq!(detect("base_model: m\nmerge_method: slerp\nmodels: []\n"), None, "mergekit's");
    assert_eq!(detect("base_model: m\n"), None);
    assert_eq!(begun("base_model: m\nadapter: [lora\nlora_"), Some(Trainer::Axolotl));
    assert_eq!(begun("spec:\n  base_model: m\n  adapter: lora\n"), None);
    assert_eq!(detect("name: a\nmodel: m\n# model_name_or_path\n"), None);
    assert_eq!(detect("plan \"a\" { model = \"model_name_or_path\" }"), None);
    assert_eq!(detect(": [ model_name_or_path"), None);
    assert!(opened("a.mem", "model_name_or_path: m").foreign.is_none());
}

/// A plan's settings by path.
fn settings(plan: &Plan) -> std::collections::BTreeMap<String, serde_json::Value> {
    let value = serde_json::to_value(plan).unwrap();
    let mut all = std::collections::BTreeMap::new();
    for (name, value) in value.as_object().unwrap() {
        match value {
            serde_json::Value::Object(block) => {
                all.extend(block.iter().map(|(setting, value)| (format!("{name}.{setting}"), value.clone())));
            }
            value => _ = all.insert(name.clone(), value.clone()),
        }
    }
    all
}

/// Every setting comes back, or is listed; gives how many came back.
fn comes_back(plan: &Plan, trainer: Trainer) -> usize {
    let written = write(plan, trainer).unwrap();
    let name = format!("{}.yaml", plan.name);
    let document = read(Source { name, text: written.text.clone() }, trainer);
    assert_eq!(document.problems, [], "{}", written.text);
    let back = settings(&document.plans[0].plan);
    let lost: Vec<&str> = written.notes.iter().map(|note| note.name.as_str()).collect();
    let own = settings(plan);
    for (path, value) in &own {
        let same = back.get(path).is_some_and(|theirs| theirs == value || both(theirs, value));
        let default = !back.contains_key(path) && is_default(path, value);
        assert!(
            same || default || lost.contains(&path.as_str()),
            "{path} = {value} is {:?} and not listed\n{}\n{lost:?}",
            back.get(path),
            written.text
        );
    }
    for note in &written.notes {
        // A default of memspec's is listed only where the trainer has another.
        let theirs = back.get(&note.name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let listed = own.contains_key(&note.name) || theirs != note.value;
        assert!(listed, "{} is listed and comes back\n{}", note.name, written.text);
    }
    // What is written is what is read.
    let again = write(&document.plans[0].plan, trainer).unwrap();
    let twice = read(Source { name: document.source.name.clone(), text: again.text.clone() }, trainer);
    assert_eq!(twice.plans[0].plan, document.plans[0].plan, "{}\n{}", written.text, again.text);
    own.keys().filter(|path| !lost.contains(&path.as_str())).count()
}

fn both(a: &serde_json::Value, b: &serde_json::Value) -> bool {
    a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

fn is_default(path: &str, value: &serde_json::Value) -> bool {
    let Some(default) = Plan::setting(path).and_then(|setting| setting.default) else { return false };
    let mut plan = Plan::default();
    let block = path.split('.').next().unwrap();
    plan.set(path, default).is_ok() && settings(&plan).get(path) == Some(value) && !block.is_empty()
}

#[test]
fn examples_come_back_from_each_trainer() {
    for (name, text) in [
        ("quickstart.mem", include_str!("../../examples/quickstart.mem")),
        ("smollm2.mem", include_str!("../../examples/smollm2.mem")),
    ] {
        for written in read_text(name, text).plans {
            let mem = memspec::lang::write(&written.plan);
            let yaml = memspec::exchange::yaml::write(std::slice::from_ref(&written.plan));
            assert_eq!(read_text("a.yaml", yaml.clone()).plans[0].plan, written.plan, "{yaml}");
            assert_eq!(read_text("a.mem", mem).plans[0].plan, written.plan);
            for trainer in Trainer::ALL {
                if write(&written.plan, *trainer).is_ok() {
                    comes_back(&written.plan, *trainer);
                }
            }
        }
    }
}

mod laws {
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;

    use super::*;

    /// Settings with values that a resolved plan may have, as `Plan::set` takes them.
    const VALUES: &[(&str, &[&str])] = &[
        ("device", &["h100-80", "t4"]),
        ("engine", &["trl", "memspec"]),
        ("output", &["out/run"]),
        ("seed", &["7", "42"]),
        ("data.path", &["data/train.jsonl", "trl-lib/Capybara", "d.parquet"]),
        ("data.eval_path", &["data/train.jsonl", "data/eval.jsonl"]),
        ("data.format", &["chat", "auto"]),
        ("data.loss_on", &["all", "assistant"]),
        ("data.context", &["512", "1024", "2048"]),
        ("data.packing", &["true", "false"]),
        ("data.order", &["random", "sequential", "by_length"]),
        ("data.padding", &["longest", "max", "none"]),
        ("data.samples", &["1000"]),
        ("train.precision", &["bf16", "fp16", "f32", "bf16_pure", "fp16_pure"]),
        ("train.base_dtype", &["bf16", "fp16", "f32"]),
        ("train.script", &["sft", "loop", "axolotl", "llamafactory", "llamafactory_v1"]),
        ("train.upcast", &["none", "norms", "embeddings"]),
        ("train.micro_batch", &["1", "2", "8"]),
        ("train.accumulate", &["1", "16"]),
        ("train.checkpointing", &["none", "block", "4"]),
        ("train.activation_offload", &["true", "false"]),
        ("train.attention", &["sdpa", "eager", "efficient", "flash2", "flash3"]),
        ("train.loss", &["auto", "whole", "chunked", "liger", "asft"]),
        ("train.liger", &["true", "false"]),
        ("train.expandable_segments", &["true", "false"]),
        (
            "train.optimizer",
            &["adamw", "adamw_foreach", "adamw_8bit", "paged_adamw_8bit", "paged_adamw", "adafactor", "sgd", "lion"],
        ),
        ("data.pad_token", &["<pad>", "</s>"]),
        ("data.eos_token", &["</s>"]),
        ("train.device_map", &["none", "auto", "own"]),
        ("train.tf32", &["true", "false"]),
        ("train.use_cache", &["true", "false"]),
        ("train.learning_rate", &["2e-4", "0.00002", "1e-5", "1e-7"]),
        ("train.schedule", &["cosine", "linear", "constant"]),
        ("train.warmup", &["3%", "10", "0"]),
        ("train.weight_decay", &["0", "0.01"]),
        ("train.clip", &["0", "1", "0.3"]),
        ("train.epochs", &["1", "3", "0.5"]),
        ("train.steps", &["100"]),
        ("eval.every", &["50"]),
        ("eval.micro_batch", &["2", "8"]),
        ("save.every", &["100", "500"]),
        ("save.keep", &["1", "2"]),
        ("save.load_best", &["true", "false"]),
        ("save.merge", &["true", "false"]),
    ];
    const ADAPTER: &[(&str, &[&str])] = &[
        ("adapter.rank", &["8", "16", "64"]),
        ("adapter.alpha", &["16", "32.5"]),
        ("adapter.rank_stabilized", &["true", "false"]),
        ("adapter.dropout", &["0", "5%", "7%"]),
        ("adapter.targets", &["all_linear", "attention", "mlp", "query_value", "q_proj"]),
        ("adapter.vision", &["true"]),
        ("adapter.dtype", &["bf16", "f32"]),
    ];
    const QUANTIZE: &[(&str, &[&str])] = &[
        ("quantize.double", &["true", "false"]),
        ("quantize.block", &["64", "128"]),
        ("quantize.compute", &["bf16", "fp16", "f32"]),
        ("quantize.experts", &["true", "false"]),
        ("quantize.storage", &["uint8", "bf16", "f32"]),
    ];
    const PARALLEL: &[(&str, &[&str])] = &[
        ("parallel.gpus", &["1", "2", "8"]),
        ("parallel.nodes", &["1", "2"]),
        ("parallel.reshard", &["true", "false"]),
        ("parallel.offload", &["none", "host"]),
        ("parallel.wrapped_checkpointing", &["true", "false"]),
        ("parallel.context", &["1", "2", "4"]),
        ("parallel.load_whole", &["true", "false"]),
    ];

    /// Some of the settings, each with one of its values.
    fn some(
        values: &'static [(&'static str, &'static [&'static str])],
    ) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let each: Vec<_> = values
            .iter()
            .map(|(path, values)| prop::option::of((Just(*path), prop::sample::select(*values))))
            .collect();
        each.prop_map(|chosen| chosen.into_iter().flatten().collect())
    }

    pub(super) fn plans() -> impl Strategy<Value = Plan> {
        let adapter = prop::option::of((prop::sample::select(vec!["lora", "dora"]), some(ADAPTER)));
        let quantize = prop::option::of((prop::sample::select(vec!["nf4", "fp4", "int8", "gptq"]), some(QUANTIZE)));
        let kinds = vec!["ddp", "fsdp2", "zero1", "zero2", "zero3", "tensor"];
        let parallel = prop::option::of((prop::sample::select(kinds), some(PARALLEL)));
        // Lists, which `Plan::set` does not take.
        let lists = (any::<bool>(), any::<bool>());
        (some(VALUES), adapter, quantize, parallel, lists).prop_map(|(plain, adapter, quantize, parallel, lists)| {
            let mut json = serde_json::json!({"name": "made", "model": "meta-llama/Meta-Llama-3-8B"});
            let (words, whole) = lists;
            if words {
                json["data"] = serde_json::json!({ "new_tokens": ["<tool>", "</tool>"] });
            }
            let mut settings = plain;
            for (block, made) in [("adapter", adapter), ("quantize", quantize), ("parallel", parallel)] {
                if let Some((kind, inner)) = made {
                    json[block] = serde_json::json!({ "kind": kind });
                    if block == "adapter" && whole {
                        json[block]["train_whole"] = serde_json::json!(["embed_tokens", "lm_head"]);
                    }
                    settings.extend(inner);
                }
            }
            let mut plan: Plan = serde_json::from_value(json).unwrap();
            for (path, value) in settings {
                plan.set(path, value).unwrap();
            }
            plan
        })
    }

    #[test]
    fn every_setting_comes_back_or_is_listed() {
        let mut runner = TestRunner::default();
        runner
            .run(&plans(), |plan| {
                for trainer in Trainer::ALL {
                    comes_back(&plan, *trainer);
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let mut runner = TestRunner::default();
        let cases = (plans(), any::<u64>());
        runner
            .run(&cases, |(plan, order)| {
                for trainer in Trainer::ALL {
                    let text = write(&plan, *trainer).unwrap().text;
                    let serde_yaml::Value::Mapping(mapping) = serde_yaml::from_str(&text).unwrap() else {
                        panic!("{text}")
                    };
                    let mut keys: Vec<_> = mapping.into_iter().collect();
                    let mut seed = order;
                    for n in (1..keys.len()).rev() {
                        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        keys.swap(n, (seed >> 33) as usize % (n + 1));
                    }
                    let shuffled = serde_yaml::to_string(&keys.into_iter().collect::<serde_yaml::Mapping>()).unwrap();
                    let plan_of = |text: &str| {
                        read(Source { name: "a.yaml".into(), text: text.into() }, *trainer).plans.remove(0).plan
                    };
                    prop_assert_eq!(plan_of(&text), plan_of(&shuffled), "{}", shuffled);
                }
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn any_mapping_is_read_without_panic() {
        let keys = vec![
            "model_name_or_path",
            "dataset_name",
            "use_peft",
            "lora_target_modules",
            "load_in_4bit",
            "dtype",
            "max_length",
            "eval_strategy",
            "warmup_ratio",
            "fsdp",
            "fsdp_config",
            "deepspeed",
            "num_processes",
            "env",
            "datasets",
            "pad_to_multiple_of",
            "lora_dropout",
            "optim",
            "lora_target",
            "finetuning_type",
            "quantization_bit",
            "dataset",
            "cutoff_len",
            "oft_block_size",
            "use_unsloth_gc",
            "val_size",
            "model",
            "peft_config",
            "quant_config",
            "dist_config",
            "global_batch_size",
            "tf32",
            "load_best_model_at_end",
        ];
        let values = vec![
            "",
            "true",
            "[a, b]",
            "{a: b}",
            "-1",
            "1e400",
            ".nan",
            "é",
            "[[1]]",
            "{path: {x: 1}}",
            "no",
            "steps",
            "[{path: a}]",
        ];
        let line = (prop::sample::select(keys), prop::sample::select(values))
            .prop_map(|(key, value)| format!("{key}: {value}\n"));
        let mut runner = TestRunner::default();
        runner
            .run(&prop::collection::vec(line, 0..12), |lines| {
                for trainer in Trainer::ALL {
                    let document = read(Source { name: "a.yaml".into(), text: lines.concat() }, *trainer);
                    for problem in &document.problems {
                        assert!(document.source.text.get(problem.span.clone()).is_some(), "{problem:?}");
                    }
                }
                Ok(())
            })
            .unwrap();
    }
}

/// A setting changed, or as `-path` a key taken out: the edits of the text, as lines.
fn edited(name: &str, text: &str, change: &str) -> String {
    let document = opened(name, text);
    let edited = match change.strip_prefix('-') {
        Some(path) => remove(&document, path),
        None => {
            let (path, value) = change.split_once(" = ").unwrap();
            edit(&document, |plan| with(plan, path, value))
        }
    };
    let Some(edited) = edited else { return format!("# {change}\nno edit\n") };
    let after = apply(text, &edited.edits).unwrap();
    assert_eq!(opened(name, &after).plans[0].plan, edited.plan, "{change}");
    let (before, after): (Vec<_>, Vec<_>) = (text.lines().collect(), after.lines().collect());
    let mut told = format!("# {change}\n");
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| ('-', line));
    let new = after.iter().enumerate().filter(|(_, line)| !before.contains(line));
    for (sign, line) in gone {
        let _ = writeln!(told, "{sign} {line}");
    }
    for (n, line) in new {
        let _ = writeln!(told, "+ {line}    [behind {}]", if n == 0 { "nothing" } else { after[n - 1] });
    }
    told
}

fn with(plan: &Plan, path: &str, value: &str) -> Option<Plan> {
    let mut plan = plan.clone();
    match path {
        "quantize" => plan.quantize.get_or_insert_default().kind = value.parse().ok()?,
        "adapter" => plan.adapter.get_or_insert_default().kind = value.parse().ok()?,
        path => plan.set(path, value).ok()?,
    }
    Some(plan)
}

/// Settings changed in every fixture.
const CHANGES: &[&str] = &[
    "train.micro_batch = 3",
    "train.accumulate = 7",
    "data.context = 512tok",
    "train.optimizer = adamw_8bit",
    "train.optimizer = paged_adamw_8bit",
    "train.checkpointing = block",
    "train.checkpointing = none",
    "train.attention = flash2",
    "train.loss = liger",
    "train.precision = fp16",
    "train.learning_rate = 3e-5",
    "train.expandable_segments = true",
    "quantize = nf4",
    "quantize = int8",
    "adapter = lora",
    "adapter.rank = 5",
    "save.merge = true",
    "device = t4",
    "-train.accumulate",
    "-adapter.dropout",
    "-data.path",
];

#[test]
fn a_change_of_the_plan_is_an_edit_of_the_trainers_keys() {
    let files = [
        ("trl", include_str!("fixtures/foreign/trl/qlora.yaml")),
        ("axolotl", include_str!("fixtures/foreign/axolotl/qlora.yaml")),
        ("llamafactory", include_str!("fixtures/foreign/llamafactory/qlora.yaml")),
    ];
    for (trainer, text) in files {
        let told: String = CHANGES.iter().map(|change| edited("qlora.yaml", text, change)).collect();
        insta::assert_snapshot!(format!("{trainer}_edits"), told);
    }
}

/// In every fixture every change is proven, or not made; what is made keeps all comments of the lines that stay.
#[test]
fn an_edit_says_the_change_and_keeps_the_rest() {
    let mut made = 0;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/foreign");
    for file in
        ["trl", "axolotl", "llamafactory"].iter().flat_map(|trainer| std::fs::read_dir(folder.join(trainer)).unwrap())
    {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let document = opened("file.yaml", &text);
            for change in CHANGES.iter().filter(|change| !change.starts_with('-')) {
                let (setting, value) = change.split_once(" = ").unwrap();
                let Some(edited) = edit(&document, |plan| with(plan, setting, value)) else { continue };
                made += 1;
                let after = apply(&text, &edited.edits).unwrap();
                assert_eq!(after.contains("\r\n"), text.contains("\r\n"), "{change} in {}", path.display());
                assert_eq!(
                    after.matches('\n').count(),
                    after.matches("\r\n").count().max(if text.contains('\r') {
                        0
                    } else {
                        after.matches('\n').count()
                    })
                );
                let read = opened("file.yaml", &after);
                assert_eq!(
                    with(&read.plans[0].plan, setting, value).as_ref(),
                    Some(&read.plans[0].plan),
                    "{change} in\n{after}"
                );
                let gone = text.lines().filter(|line| !after.lines().any(|other| other == *line));
                let keys = edited.edits.len();
                assert!(
                    gone.clone().count() <= 3 * keys,
                    "{change} in {}: {:?}",
                    path.display(),
                    gone.collect::<Vec<_>>()
                );
            }
        }
    }
    assert!(made > 300, "{made}");
}

#[test]
fn what_a_plan_does_not_know_of_stays_in_a_list() {
    let text = "base_model: Qwen/Qwen2.5-0.5B\nplugins: [my.own.Plugin]\nsequence_len: 512\nmicro_batch_size: 1\n";
    insta::assert_snapshot!(edited("a.yml", text, "train.liger = true"));
}

#[test]
fn json_and_braces_are_edited_as_they_are_written() {
    let json =
        "{\n  \"model_name_or_path\": \"Qwen/Qwen2.5-0.5B\",\n  \"dataset_name\": \"d\",\n  \"max_length\": 512\n}\n";
    let braces = "{model_name_or_path: Qwen/Qwen2.5-0.5B, dataset_name: d, max_length: 512}\n";
    let changes = ["data.context = 256tok", "train.micro_batch = 2", "adapter = lora", "-data.context"];
    let told: String =
        changes.iter().flat_map(|change| [edited("a.json", json, change), edited("a.yaml", braces, change)]).collect();
    insta::assert_snapshot!(told);
}
