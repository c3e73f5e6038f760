//! What a run leaves, where it leaves it, and what the model says then.

mod common;

use common::{ADAPTER, Place};
use memspec_train::checkpoint::Checkpoint;
use serde_json::Value;

/// The numbers under `key` in each of a list's objects.
fn all<'a>(list: &'a Value, key: &str) -> Vec<&'a Value> {
    list.as_array().unwrap().iter().map(|entry| &entry[key]).collect()
}

#[test]
fn a_run_leaves_an_adapter_a_report_and_metrics() {
    let place = Place::new();
    let done = place.run(&[]);
    assert!(done.stdout.contains("4 steps, loss"), "{}", done.stdout);
    assert_eq!(done.stdout.lines().last(), Some("out"), "the last line is the folder: {}", done.stdout);
    assert_eq!(
        place.names("out"),
        [
            "adapter_config.json",
            "adapter_model.safetensors",
            "checkpoint-2",
            "metrics.jsonl",
            "report.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );

    let bytes = std::fs::read(place.path("out/adapter_model.safetensors")).unwrap();
    let adapter = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(adapter.len(), 4 * 7 * 2, "A and B of seven linears in four blocks");
    let b = adapter.tensor("base_model.model.model.layers.3.mlp.gate_proj.lora_B.weight").unwrap();
    assert_eq!(b.shape(), [352, 4]);
    assert!(b.data().iter().any(|&byte| byte != 0), "B starts at zero and was trained");
    let config = place.json("out/adapter_config.json");
    assert_eq!((&config["peft_type"], &config["r"]), (&"LORA".into(), &4.into()));

    let report = place.json("out/report.json");
    assert_eq!(
        all(&report["phases"], "name"),
        ["load", "forward", "loss", "backward", "optimizer", "save"],
        "{report}"
    );
    for bytes in ["promised_bytes", "measured_bytes"] {
        assert!(all(&report["phases"], bytes).iter().all(|bytes| bytes.as_u64() > Some(0)), "{report}");
        assert!(report["process"][bytes].as_u64() > Some(0), "{report}");
    }
    assert_eq!(report["losses"].as_array().unwrap().len(), 4);
    assert!(report["tokens_per_second"].as_f64() > Some(0.0));
    assert_eq!(report["setup"]["train"]["micro_batch"], 2);

    let steps: Vec<u64> = place.metrics("out").iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 4]);
}

#[test]
fn without_an_output_each_run_gets_a_folder_of_its_own() {
    let place = Place::new();
    place.plan(&[("output = \"out\"", ""), ("steps         = 4", "steps = 1")]);
    for _ in 0..2 {
        place.run(&["--quiet"]);
    }
    assert_eq!(place.names("runs"), ["tiny-1", "tiny-2"]);
    assert_eq!(place.losses("runs/tiny-1"), place.losses("runs/tiny-2"));

    // runs that start at once do not share a folder
    let mut started: Vec<_> = (0..3).map(|_| place.start(&["run", "plan.mem"])).collect();
    assert!(started.iter_mut().all(|run| run.wait().unwrap().success()));
    assert_eq!(place.names("runs"), ["tiny-1", "tiny-2", "tiny-3", "tiny-4", "tiny-5"]);
    assert!((1..=5).all(|run| place.path(&format!("runs/tiny-{run}/report.json")).exists()));
}

#[test]
fn each_run_of_a_sweep_gets_a_folder_of_its_own() {
    let place = Place::new();
    place.plan(&[("rank  = 4", "rank = sweep [2, 4]"), ("steps         = 4", "steps = 1")]).run(&["--quiet"]);
    assert_eq!(place.names("out"), ["tiny-rank-2", "tiny-rank-4"]);
    assert_eq!(place.json("out/tiny-rank-2/adapter_config.json")["r"], 2);
    assert_eq!(place.json("out/tiny-rank-4/adapter_config.json")["r"], 4);
}

#[test]
fn an_output_that_is_not_empty_is_overwritten_only_when_asked() {
    let place = Place::new();
    std::fs::create_dir(place.path("out")).unwrap();
    place.write("out/notes.txt", "mine").write("out/checkpoint-notes", "mine, too");
    place.refuses(&[], 2, &["the output folder out is not empty", "--resume", "--overwrite"]);
    assert_eq!(place.names("out"), ["checkpoint-notes", "notes.txt"]);

    place.run(&["--overwrite", "--quiet"]);
    let first = place.losses("out");
    place.plan(&[("steps         = 4", "steps = 3")]).run(&["--overwrite", "--quiet"]);
    assert_eq!(place.losses("out").len(), 3);
    assert_ne!(place.losses("out"), first);
    assert_eq!(place.metrics("out").len(), 3, "of this run only");
    assert!(place.names("out").contains(&"notes.txt".to_owned()), "what no run wrote stays");

    // a run that cannot start does not cost the earlier one
    place.write("model/model.safetensors", "no weights");
    place.refuses(&["--overwrite"], 2, &["model.safetensors"]);
    assert_eq!(place.losses("out").len(), 3);
}

#[test]
fn the_loss_falls_and_the_adapter_changes_the_answers() {
    let place = Place::new();
    place.plan(&[
        ("steps         = 4", "steps = 30"),
        ("micro_batch   = 2", "micro_batch = 8"),
        ("rank  = 4", "rank = 8"),
    ]);
    let ask = |more: &[&str]| {
        let done = place.call(&[&["generate", "plan.mem", "--prompt", "What does the smith sell?"], more].concat());
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        done.stdout
    };
    let before = ask(&[]);
    assert_eq!(before.trim(), "The smith sells iron pots.");
    let report = place.run(&["--json"]).stdout;
    let report: Value = serde_json::from_str(&report).unwrap();
    let losses: Vec<f64> = report["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect();
    assert!(losses[29] < 0.5 * losses[0], "{losses:?}");
    assert!(losses[25..].iter().sum::<f64>() < 0.6 * losses[..5].iter().sum::<f64>(), "{losses:?}");
    // drawn: the same seed says the same, and where only the likeliest token is left it is said, however warm
    let warm = ["--temperature", "1.5", "--max-tokens", "12"];
    let seeded = |seed: &str| ask(&[&warm[..], &["--seed", seed]].concat());
    assert_eq!(seeded("5"), seeded("5"));
    assert!((6..16).any(|seed| seeded(&seed.to_string()) != seeded("5")));
    assert_eq!(ask(&["--temperature", "1.5", "--top-p", "0"]), before);
    let after = ask(&["--adapter", "out"]);
    assert_ne!(after, before);
    assert!(after.starts_with("Arr!"), "{after}");
    assert_eq!(ask(&[]), before, "the base model is as it was");
    let json: Value = serde_json::from_str(&ask(&["--adapter", "out", "--json"])).unwrap();
    assert_eq!(json["answer"], after.trim());
}

#[test]
fn quiet_says_nothing_and_json_says_the_report() {
    let place = Place::new();
    let done = place.run(&["--quiet"]);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
    let done = place.run(&["--overwrite", "--json"]);
    let printed: Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(printed, place.json("out/report.json"));
    assert_eq!(done.stderr, "");
}

#[test]
fn a_reader_who_goes_away_does_not_cost_the_run() {
    let place = Place::new();
    let done = place.shell("exec 3>&1; { \"$MEMSPEC\" run plan.mem 2>&1; echo $? >&3; } | true");
    assert_eq!(done.stdout.trim(), "0", "{}", done.stderr);
    assert_eq!(place.losses("out").len(), 4);
    let done = place.shell("exec 3>&1; { \"$MEMSPEC\" completions bash; echo $? >&3; } | true");
    assert_eq!(done.stdout.trim(), "0", "{}", done.stderr);
}

#[test]
fn a_chat_answers_line_by_line_and_knows_what_was_said() {
    let place = Place::new();
    let chat = |lines: &str, more: &str| {
        place.write("said", lines);
        let done = place.shell(&format!("\"$MEMSPEC\" generate plan.mem --chat --json {more} < said"));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let answers = done.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
        answers.map(|line: Value| line["answer"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let question = "What does the smith sell?";
    assert_eq!(chat(&format!("{question}\n\n"), ""), ["The smith sells iron pots."]);
    let twice = chat(&format!("What does the baker sell?\n{question}\n"), "");
    assert_eq!(twice.len(), 2);

    // the second answer is what the whole conversation, asked at once, is answered with
    let template = place.json("model/tokenizer_config.json")["chat_template"].as_str().unwrap().to_owned();
    let first = serde_json::json!("What does the baker sell?");
    let said = serde_json::json!(twice[0]);
    let turns = format!(
        "{{% set messages = [{{'role': 'user', 'content': {first}}}, {{'role': 'assistant', 'content': {said}}}] + messages %}}"
    );
    place.write("turns.jinja", turns + &template);
    place.plan(&[("context = 48tok", "context = 48tok\n template = \"turns.jinja\"")]);
    let once = place.call(&["generate", "plan.mem", "--prompt", question]);
    assert_eq!(once.stdout.trim(), twice[1], "{}", once.stderr);
    // neither a prompt nor a chat
    assert_eq!(place.call(&["generate", "plan.mem"]).code, Some(2));
}

#[test]
fn packed_samples_take_fewer_steps() {
    let place = Place::new();
    let run = |data: &str| {
        place.plan(&[("context = 48tok", data), ("steps         = 4", "epochs = 1")]).run(&["--overwrite", "--quiet"]);
        let tokens: u64 = place.metrics("out").iter().map(|line| line["tokens"].as_u64().unwrap()).sum();
        (place.losses("out").len(), tokens)
    };
    let (alone, tokens) = run("context = 200tok");
    let (packed, packed_tokens) = run("context = 200tok\n packing = true");
    assert_eq!(tokens, packed_tokens, "an epoch has every token once");
    // two rows a step, nearly full
    let rows = tokens.div_ceil(200) as usize;
    assert!(packed < alone / 2 && packed <= rows.div_ceil(2) + 1, "{packed} steps, {alone} unpacked, {rows} rows");
}

#[test]
fn a_model_of_a_plan_for_another_device_answers_on_the_cpu() {
    let place = Place::new();
    let answer = || place.call(&["generate", "plan.mem", "--prompt", "What does the baker sell?", "--max-tokens", "4"]);
    let here = answer();
    assert!(here.code == Some(0) && here.stderr.is_empty(), "{}", here.stderr);
    place.plan(&[("device = cpu", "device = t4"), ("256MiB", "8GiB")]);
    let there = answer();
    assert_eq!((there.code, &there.stdout), (Some(0), &here.stdout), "{}", there.stderr);
    assert!(there.stderr.contains("`t4`") && there.stderr.contains("computing on the CPU"), "{}", there.stderr);
}

#[test]
fn every_command_shows_examples_and_shells_complete() {
    let place = Place::new();
    for command in ["", "run", "eval", "merge", "export-gguf-lora", "generate", "logits", "completions"] {
        let arguments = [command, "--help"];
        let done = place.call(&arguments[usize::from(command.is_empty())..]);
        assert_eq!(done.code, Some(0));
        assert!(done.stdout.contains("Examples:\n  memspec-train"), "{command:?}: {}", done.stdout);
    }
    for shell in ["bash", "zsh", "fish"] {
        let done = place.call(&["completions", shell]);
        assert!(done.code == Some(0) && done.stdout.contains("overwrite"), "{shell}: {}", done.stderr);
    }
}

#[test]
fn logits_are_written_for_every_token_of_the_prompt() {
    let place = Place::new();
    // more tokens than the plan's context: it is the training's, not the model's
    let prompt = "The smith sells iron pots. ".repeat(12);
    let done = place.call(&["logits", "plan.mem", "--prompt", &prompt, "--out", "logits.safetensors"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let bytes = std::fs::read(place.path("logits.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tokens = file.tensor("input_ids").unwrap().shape()[0];
    assert!(tokens > 48, "{tokens}");
    assert_eq!(file.tensor("logits").unwrap().shape(), [tokens, 920]);
}

#[test]
fn evaluation_accumulation_quantization_and_checkpointing_run() {
    let place = Place::new();
    let lines = std::fs::read_to_string(place.path("train.jsonl")).unwrap();
    let lines: Vec<&str> = lines.lines().collect();
    place.write("eval.jsonl", lines[..5].join("\n")).write("train.jsonl", lines[5..].join("\n"));
    let base = [
        ("context = 48tok", "context = 48tok\n eval_path = \"eval.jsonl\""),
        ("save {", "eval { every = 2 }\n  save {"),
    ];
    let check = |changes: &[(&str, &str)]| {
        place.plan(&[&base, changes].concat()).run(&["--overwrite", "--quiet"]);
        let report = place.json("out/report.json");
        let evaluated = report["eval_losses"].as_array().unwrap();
        assert_eq!(evaluated.iter().map(|pair| &pair[0]).collect::<Vec<_>>(), [2, 4], "{changes:?}");
        report["losses"][3].as_f64().unwrap()
    };
    let plain = check(&[]);
    let recomputed = check(&[("precision     = f32", "precision = f32\n checkpointing = block")]);
    assert_eq!(recomputed, plain, "what is recomputed is the same");
    let accumulated = check(&[("micro_batch   = 2", "micro_batch = 1\n accumulate = 2")]);
    assert!((accumulated - plain).abs() < 1e-3, "{accumulated} {plain}");
    let nf4 = check(&[("adapter lora", "quantize nf4 { }\n  adapter lora")]);
    assert!(nf4 != plain && (nf4 - plain).abs() < 0.5 * plain, "{nf4} {plain}");
    let int8 = check(&[("adapter lora", "quantize int8 { }\n  adapter lora")]);
    assert!(int8 != plain && (int8 - plain).abs() < 0.1 * plain, "{int8} {plain}");
    let sgd = check(&[("adamw", "sgd")]);
    assert!(sgd.is_finite() && sgd != plain);
}

/// The changes of the tests' plan that make it train all weights.
const ALL_WEIGHTS: [(&str, &str); 2] = [(ADAPTER, ""), ("2e-3", "3e-4")];

#[test]
fn without_an_adapter_a_run_leaves_a_model() {
    let place = Place::new();
    place.plan(
        &[&ALL_WEIGHTS[..], &[("steps         = 4", "steps = 20"), ("micro_batch   = 2", "micro_batch = 8")]].concat(),
    );
    place.run(&["--quiet"]);
    assert_eq!(
        place.names("out"),
        [
            "checkpoint-16",
            "checkpoint-18",
            "config.json",
            "generation_config.json",
            "metrics.jsonl",
            "model.safetensors",
            "report.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    // the base's names, shapes and types, every weight another
    let [base, new] = ["model", "out"].map(|folder| Checkpoint::open(place.path(folder)).unwrap());
    let sorted = |checkpoint: &Checkpoint| {
        let mut names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        names.sort();
        names
    };
    assert_eq!(sorted(&base), sorted(&new));
    for name in base.names() {
        assert_eq!(base.dtype(name).unwrap(), new.dtype(name).unwrap(), "{name}");
        assert_eq!(base.shape(name).unwrap(), new.shape(name).unwrap(), "{name}");
        let moved = base.read_all(name).unwrap() != new.read_all(name).unwrap();
        // a norm near one moves by less than its type can tell
        assert!(moved || name.ends_with("norm.weight"), "{name} is as it was");
    }
    for name in ["config.json", "generation_config.json"] {
        let [from, to] = ["model", "out"].map(|folder| std::fs::read(place.path(&format!("{folder}/{name}"))).unwrap());
        assert_eq!(from, to, "{name}");
    }
    let losses: Vec<f64> = place.losses("out").iter().map(|loss| loss.parse().unwrap()).collect();
    assert!(losses[19] < 0.7 * losses[0], "{losses:?}");

    // it is a model as any other, and no adapter
    let ask = |more: &[&str]| {
        place.call(&[&["generate", "plan.mem", "--prompt", "What does the smith sell?"], more].concat())
    };
    ask(&["--adapter", "out"])
        .refused(2, &["no adapter here", "a whole model", "set the plan's `model` to this folder"]);
    let merge = ["merge", "plan.mem", "--adapter", "out", "--output", "merged"];
    place.call(&merge).refused(2, &["no adapter here", "a whole model"]);
    let before = ask(&[]).stdout;
    place.plan(&[("\"model\"", "\"out\""), ("\"out\"\n\n", "\"other\"\n\n")]);
    let after = ask(&[]);
    assert!(after.code == Some(0) && after.stdout.starts_with("Arr!"), "{} {}", after.stdout, after.stderr);
    assert_ne!(after.stdout, before);
    // and can be trained on, with an adapter or without
    place.run(&["--quiet"]);
    assert!(place.names("other").contains(&"adapter_config.json".to_owned()));
}

#[test]
fn all_weights_evaluated_by_the_run_and_by_eval_are_the_same_model() {
    let place = Place::new();
    let eval = ("context = 48tok", "context = 48tok\n    eval_path = \"train.jsonl\"");
    place.plan(&[&ALL_WEIGHTS[..], &[eval]].concat());
    place.run(&["--quiet"]);
    let report = place.json("out/report.json");
    let last = report["eval_losses"].as_array().unwrap().last().unwrap()[1].as_f64().unwrap();
    place.plan(&[ALL_WEIGHTS[0], eval, ("\"model\"", "\"out\"")]);
    let done = place.call(&["eval", "plan.mem", "--json"]);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let loss = serde_json::from_str::<Value>(&done.stdout).unwrap()["loss"].as_f64().unwrap();
    // weights are rounded to the base's bfloat16
    assert!((loss - last).abs() < 2e-2, "{loss} {last}");
}

#[test]
fn a_model_that_no_run_made_is_not_replaced() {
    let place = Place::new();
    let base = std::fs::read(place.path("model/model.safetensors")).unwrap();
    let is_base = || assert!(std::fs::read(place.path("model/model.safetensors")).unwrap() == base);
    place.plan(&[ALL_WEIGHTS[0], ("\"out\"", "\"model\"")]);
    place.refuses(&["--overwrite"], 2, &["the output folder model holds a model already", "another folder"]);
    is_base();
    // an adapter beside its base is nothing unusual, and an earlier run's goes without its base
    place.plan(&[("\"out\"", "\"model\"")]).run(&["--overwrite", "--quiet"]);
    place.run(&["--overwrite", "--quiet"]);
    is_base();

    // what a run made is replaced, by all weights or by an adapter
    place.plan(&ALL_WEIGHTS).run(&["--quiet"]);
    place.run(&["--overwrite", "--quiet"]);
    place.plan(&[]).run(&["--overwrite", "--quiet"]);
    let names = place.names("out");
    assert!(names.contains(&"adapter_config.json".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name == "model.safetensors" || name == "config.json"), "{names:?}");
}

#[test]
fn a_base_without_its_configuration_is_not_trained_whole() {
    let place = Place::new();
    std::fs::create_dir(place.path("weights")).unwrap();
    for name in ["model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(place.path(&format!("model/{name}")), place.path(&format!("weights/{name}"))).unwrap();
    }
    place.plan(&[ALL_WEIGHTS[0], ("\"model\"", "\"model\"\n  weights = \"weights\"")]);
    place.refuses_to_start(2, &["weights has no config.json", "adapter lora { }"]);
}
