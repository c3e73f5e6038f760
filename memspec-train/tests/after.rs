//! After a run: `eval`, `merge` and `export-gguf-lora`, as a user calls them.

mod common;

use std::path::Path;

use common::Place;
use memspec_train::checkpoint::{Checkpoint, Encoding};
use serde_json::Value;

/// A place with a finished run in `out`.
fn trained() -> Place {
    let place = Place::new();
    place.run(&["--quiet"]);
    place
}

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parity").join(name).display().to_string()
}

/// Calls the command, which must succeed, and reads the JSON that it prints.
fn json(place: &Place, arguments: &[&str]) -> Value {
    let done = place.call(arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[test]
fn eval_says_what_training_has_improved() {
    let place = trained();
    let base = json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--json"]);
    let adapted = json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--adapter", "out", "--json"]);
    let loss = |figures: &Value| figures["loss"].as_f64().unwrap();
    assert!(loss(&adapted) < loss(&base), "{adapted} {base}");
    assert!((loss(&base).exp() / base["perplexity"].as_f64().unwrap() - 1.0).abs() < 1e-9);
    assert_eq!(adapted["scored_tokens"], base["scored_tokens"]);
    let lines = std::fs::read_to_string(place.path("train.jsonl")).unwrap().lines().count();
    assert_eq!(base["samples"], lines);

    // how samples are put together changes nothing but the rounding
    let alone = json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--micro-batch", "1", "--json"]);
    assert!((loss(&alone) - loss(&base)).abs() < 1e-4, "{alone} {base}");
    let told = place.call(&["eval", "plan.mem", "--data", "train.jsonl"]);
    assert!(told.stdout.starts_with("loss ") && told.stdout.contains("perplexity "), "{}", told.stdout);
}

#[test]
fn eval_gives_positions_to_all_that_it_scores() {
    let place = Place::new();
    let score = |padding: &str| {
        place.plan(&[("context = 48tok", &format!("context = 90tok; padding = {padding}"))]);
        json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--json"])["loss"].clone()
    };
    assert_eq!(score("max"), score("longest"));
    // beyond the model's positions
    let said = "the smith sells iron ".repeat(2000);
    let chat =
        serde_json::json!({"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": said}]});
    place.write("long.jsonl", format!("{chat}\n"));
    let long = json(&place, &["eval", "plan.mem", "--data", "long.jsonl", "--context", "60000", "--json"]);
    assert_eq!(long["truncated_samples"], 1);
}

#[test]
fn eval_agrees_with_the_evaluation_of_the_run() {
    let place = Place::new();
    place.plan(&[("context = 48tok", "context = 48tok\n    eval_path = \"train.jsonl\"")]);
    place.run(&["--quiet"]);
    // the plan's own file, when none is named
    let adapted = json(&place, &["eval", "plan.mem", "--adapter", "out", "--json"]);
    let report = place.json("out/report.json");
    let last = report["eval_losses"].as_array().unwrap().last().unwrap()[1].as_f64().unwrap();
    assert!((adapted["loss"].as_f64().unwrap() - last).abs() < 1e-4, "{adapted} {last}");
}

#[test]
fn eval_refuses_what_it_cannot_score() {
    let place = Place::new();
    place.call(&["eval", "plan.mem"]).refused(2, &["no data to score", "--data FILE.jsonl"]);
    place.call(&["eval", "plan.mem", "--data", "none.jsonl"]).refused(2, &["none.jsonl"]);
    let data = ["--data", "train.jsonl"];
    place.call(&[&["eval", "plan.mem", "--adapter", "none"], &data[..]].concat()).refused(2, &["none", "adapter"]);
    place
        .call(&[&["eval", "plan.mem", "--context", "2"], &data[..]].concat())
        .refused(2, &["train.jsonl:1", "nothing to learn from"]);
}

#[test]
fn a_merged_model_answers_as_base_and_adapter_do() {
    let place = trained();
    let merged = json(&place, &["merge", "plan.mem", "--adapter", "out", "--output", "merged", "--json"]);
    assert!(merged["changed"].as_u64().unwrap() > 0, "{merged}");
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        let [from, to] =
            ["model", "merged"].map(|folder| std::fs::read(place.path(&format!("{folder}/{name}"))).unwrap());
        assert_eq!(from, to, "{name}");
    }
    // types are kept, and so is what no adapter changes
    let [base, new] = ["model", "merged"].map(|folder| Checkpoint::open(place.path(folder)).unwrap());
    assert_eq!(base.names().collect::<Vec<_>>(), new.names().collect::<Vec<_>>());
    for name in base.names() {
        assert_eq!(base.dtype(name).unwrap(), new.dtype(name).unwrap());
        let changed = base.read_all(name).unwrap() != new.read_all(name).unwrap();
        assert_eq!(changed, name.contains("_proj"), "{name}");
    }

    let adapted = json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--adapter", "out", "--json"]);
    place.plan(&[("\"model\"", "\"merged\"")]);
    let alone = json(&place, &["eval", "plan.mem", "--data", "train.jsonl", "--json"]);
    let [adapted, alone] = [adapted, alone].map(|figures| figures["loss"].as_f64().unwrap());
    assert!((adapted - alone).abs() < 1e-2, "{adapted} {alone}");
}

#[test]
fn a_dora_learns_speaks_and_is_merged() {
    let place = Place::new();
    place.plan(&[("adapter lora", "adapter dora"), ("steps         = 4", "steps = 8")]);
    place.run(&["--quiet"]);
    let config = place.json("out/adapter_config.json");
    assert_eq!((&config["use_dora"], &config["peft_type"]), (&true.into(), &"LORA".into()));
    let adapter = Checkpoint::open(place.path("out/adapter_model.safetensors")).unwrap();
    let magnitudes: Vec<&str> = adapter.names().filter(|name| name.ends_with(".lora_magnitude_vector")).collect();
    assert_eq!(magnitudes.len(), 4 * 7, "one for each adapted linear");
    let base = Checkpoint::open(place.path("model")).unwrap();
    let moved = magnitudes.iter().filter(|name| {
        let weight = name.replace("base_model.model.", "").replace("lora_magnitude_vector", "weight");
        let columns = base.shape(&weight).unwrap()[1];
        let values = base.read_all(&weight).unwrap();
        let norms = values.chunks(columns).map(|row| row.iter().map(|value| value * value).sum::<f32>().sqrt());
        let trained = adapter.read_all(name).unwrap();
        assert!(norms.clone().zip(&trained).all(|(norm, trained)| (norm / trained - 1.0).abs() < 0.1), "{name}");
        norms.zip(&trained).any(|(norm, trained)| (norm / trained - 1.0).abs() > 1e-4)
    });
    assert_eq!(moved.count(), 4 * 7, "all are trained");

    // the adapter is what its own files say, whatever the plan trains
    place.plan(&[]);
    let eval = ["eval", "plan.mem", "--data", "train.jsonl", "--json"];
    let untrained = json(&place, &eval);
    let adapted = json(&place, &[&eval[..], &["--adapter", "out"]].concat());
    json(&place, &["merge", "plan.mem", "--adapter", "out", "--output", "merged", "--json"]);
    place.plan(&[("\"model\"", "\"merged\"")]);
    let alone = json(&place, &eval);
    let [untrained, adapted, alone] = [untrained, adapted, alone].map(|figures| figures["loss"].as_f64().unwrap());
    assert!(adapted < untrained - 0.01 && (adapted - alone).abs() < 1e-2, "{untrained} {adapted} {alone}");
}

#[test]
fn a_dora_is_merged_as_peft_merges_it() {
    for (folder, adapted) in [("llama-tied-llama3", 21), ("qwen2", 14), ("phi3", 8)] {
        let place = Place::new();
        let (base, adapter) = (fixture(folder), fixture(&format!("{folder}/adapter-dora")));
        let merged = json(&place, &["merge", "--base", &base, "--adapter", &adapter, "--output", "merged", "--json"]);
        assert_eq!(merged["changed"], adapted);
        let merged = Checkpoint::open(place.path("merged")).unwrap();
        let expected = Checkpoint::open(Path::new(&base).join("dora.safetensors")).unwrap();
        let weights: Vec<&str> = expected.names().filter(|name| name.starts_with("merged.model.")).collect();
        assert!(weights.len() >= 2, "{weights:?}");
        for name in weights {
            let [ours, theirs] = [merged.read_all(&name["merged.".len()..]).unwrap(), expected.read_all(name).unwrap()];
            let apart = ours.iter().zip(&theirs).fold(0.0_f32, |apart, (a, b)| apart.max((a - b).abs()));
            assert!(apart < 1e-5, "{folder} {name}: {apart}");
        }
    }
}

#[test]
fn a_base_in_several_files_is_merged_in_as_many() {
    let place = Place::new();
    let (base, adapter) = (fixture("llama-untied"), fixture("llama-untied/adapter"));
    // the fixture, cut in two
    let source = Checkpoint::open(&base).unwrap();
    std::fs::create_dir(place.path("cut")).unwrap();
    let names: Vec<String> = source.names().map(str::to_owned).collect();
    let mut map = serde_json::Map::new();
    for (number, part) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", number + 1);
        let specs: Vec<_> = part
            .iter()
            .map(|name| memspec_train::checkpoint::TensorSpec {
                name: name.clone(),
                shape: source.shape(name).unwrap().to_vec(),
            })
            .collect();
        let path = place.path("cut").join(&file);
        memspec_train::checkpoint::write_safetensors(&path, &specs, |index| source.read_all(&part[index]).unwrap())
            .unwrap();
        map.extend(part.iter().map(|name| (name.clone(), file.clone().into())));
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map }).to_string();
    place.write("cut/model.safetensors.index.json", &index);
    std::fs::copy(Path::new(&base).join("config.json"), place.path("cut/config.json")).unwrap();

    for (from, to) in [(base.as_str(), "one"), ("cut", "two")] {
        let merged = json(&place, &["merge", "--base", from, "--adapter", &adapter, "--output", to, "--json"]);
        assert_eq!(merged["changed"], 14);
    }
    let files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
    assert_eq!(place.names("two"), [&["config.json"], &files[..], &["model.safetensors.index.json"]].concat());
    let [one, two] = ["one", "two"].map(|folder| Checkpoint::open(place.path(folder)).unwrap());
    for name in one.names() {
        assert_eq!(one.read_all(name).unwrap(), two.read_all(name).unwrap(), "{name}");
    }
}

#[test]
fn a_merge_that_cannot_be_leaves_nothing() {
    let place = Place::new();
    let adapter = fixture("llama-untied/adapter");
    let before = place.names(".");
    let merge = |base: &str, adapter: &str, output: &str| {
        place.call(&["merge", "--base", base, "--adapter", adapter, "--output", output])
    };
    let base = fixture("llama-untied");
    // of another model: shapes differ, or a module is not there
    merge("model", &adapter, "merged").refused(2, &["shape"]);
    merge(&base, &fixture("llama-tied-llama3/adapter"), "merged").refused(2, &["which this model does not have"]);
    merge(&base, "model", "merged").refused(2, &["no adapter here"]);
    merge(&base, &adapter, "model").refused(2, &["there is something here already"]);
    merge("nobody/knows", &adapter, "merged").refused(2, &["nobody/knows"]);
    assert_eq!(place.names("."), before);
    let nameless = place.call(&["merge", "--adapter", &adapter, "--output", "merged"]);
    assert!(nameless.code == Some(2) && nameless.stderr.contains("<PLAN>"), "{}", nameless.stderr);
}

#[test]
fn an_exported_adapter_has_what_llama_cpp_looks_for() {
    let place = Place::new();
    let (base, adapter) = (fixture("llama-untied"), fixture("llama-untied/adapter-rslora"));
    let arguments = ["export-gguf-lora", "--adapter", &adapter, "--base", &base, "--output", "adapter.gguf", "--json"];
    let exported = json(&place, &arguments);
    assert_eq!(exported["architecture"], "llama");
    assert_eq!(exported["modules"], 14);
    let header = memspec::model::gguf::Header::open(&place.path("adapter.gguf")).unwrap();
    let text = |key: &str| header.metadata.get(key).and_then(|value| value.as_str().map(str::to_owned));
    for (key, value) in [("general.type", "adapter"), ("adapter.type", "lora"), ("general.architecture", "llama")] {
        assert_eq!(text(key).as_deref(), Some(value), "{key}");
    }
    // rank 4, rank-stabilized: alpha / sqrt(rank) = 4 is 16 / 4 in llama.cpp's terms
    assert_eq!(exported["alpha"], 16.0);

    // the model's own tensors are where the adapter's are; q and k are read back in Hugging Face's order
    let file = Checkpoint::open(place.path("adapter.gguf")).unwrap();
    let peft = Checkpoint::open(Path::new(&adapter).join("adapter_model.safetensors")).unwrap();
    let read = |file: &Checkpoint, name: &str| (file.shape(name).unwrap().to_vec(), file.read_all(name).unwrap());
    let module = "base_model.model.model.layers.1";
    for (ours, theirs) in [
        ("blk.1.attn_v.weight.lora_a", "self_attn.v_proj.lora_A"),
        ("blk.1.attn_v.weight.lora_b", "self_attn.v_proj.lora_B"),
        ("blk.1.attn_q.weight.lora_a", "self_attn.q_proj.lora_A"),
        ("blk.1.ffn_down.weight.lora_b", "mlp.down_proj.lora_B"),
    ] {
        assert_eq!(read(&file, ours), read(&peft, &format!("{module}.{theirs}.weight")), "{ours}");
        assert_eq!(file.dtype(ours).unwrap(), Encoding::F32);
    }
    // four heads of 16 rows: row 1 of a head is Hugging Face's row 8
    let (_, ours) = read(&file, "blk.1.attn_q.weight.lora_b");
    let (_, theirs) = read(&peft, &format!("{module}.self_attn.q_proj.lora_B.weight"));
    assert_eq!(ours[4..8], theirs[4 * 8..4 * 9]);
    assert_eq!(ours[4 * 17..4 * 18], theirs[4 * 24..4 * 25]);
}

#[test]
fn an_adapter_of_fused_linears_is_merged_and_exported_whole() {
    let place = Place::new();
    let (base, adapter) = (fixture("phi3"), fixture("phi3/adapter"));
    let merged = json(&place, &["merge", "--base", &base, "--adapter", &adapter, "--output", "merged", "--json"]);
    assert_eq!(merged["changed"], 8);
    let arguments = ["export-gguf-lora", "--adapter", &adapter, "--base", &base, "--output", "adapter.gguf", "--json"];
    assert_eq!(json(&place, &arguments)["architecture"], "phi3");
    let file = Checkpoint::open(place.path("adapter.gguf")).unwrap();
    let peft = Checkpoint::open(Path::new(&adapter).join("adapter_model.safetensors")).unwrap();
    for (ours, theirs) in [("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")] {
        for (part, of) in [("lora_a", "lora_A"), ("lora_b", "lora_B")] {
            let ours = file.read_all(&format!("blk.1.{ours}.weight.{part}")).unwrap();
            let theirs = peft.read_all(&format!("base_model.model.model.layers.1.{theirs}.{of}.weight")).unwrap();
            assert_eq!(ours, theirs);
        }
    }
}

#[test]
fn an_export_that_cannot_be_leaves_nothing() {
    let place = Place::new();
    let adapter = fixture("llama-untied/adapter");
    let export = |base: &str, adapter: &str| {
        place.call(&["export-gguf-lora", "--adapter", adapter, "--base", base, "--output", "adapter.gguf"])
    };
    export("model", &adapter).refused(2, &["shape"]);
    export("google/gemma-2-9b", &adapter).refused(2, &["gemma2", "`merge`"]);
    export(&fixture("llama-untied"), "model").refused(2, &["no adapter here"]);
    let dora = fixture("llama-untied/adapter-dora");
    export(&fixture("llama-untied"), &dora).refused(2, &["is a DoRA", "llama.cpp knows LoRA only", "`merge`"]);
    assert!(!place.path("adapter.gguf").exists());
}
