//! The commands that plan: what-if, max, suggest, tables, and serving in an estimate.

mod common;

use std::fs;

use serde_json::Value;

use common::command::{self, Ran};

const PLAN: &str = r#"plan "planned" {
  model  = "meta-llama/Meta-Llama-3-8B"
  device = t4
  engine = memspec

  quantize nf4 { }
  adapter lora { rank = 16 }
  data { context = 1024tok }
  train { micro_batch = 2; accumulate = 4; checkpointing = block }
  serve { precision = q4_k_m; context = 8192tok; concurrency = 4 }
}
"#;

/// Runs the command in a folder with that plan, without this machine's models.
fn run(arguments: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.mem"), PLAN).unwrap();
    fs::write(folder.path().join("big.mem"), PLAN.replace("8B", "70B")).unwrap();
    fs::write(folder.path().join("bad.json"), "{\"engine\": \"trl\"}").unwrap();
    command::run(folder.path(), arguments)
}

fn json(arguments: &[&str]) -> Value {
    let ran = run(arguments);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", ran.out, ran.err))
}

#[test]
fn the_largest_context_and_batch() {
    let ran = run(&["max", "context", "a.mem"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(ran.out + &run(&["max", "batch", "a.mem"]).out);
    let none = run(&["max", "batch", "big.mem"]);
    assert_eq!(none.code, 1, "{}", none.err);
    assert!(none.out.contains("no micro_batch fits"), "{}", none.out);
    assert!(json(&["max", "context", "a.mem", "--json"])["plans"][0]["largest"].as_u64().unwrap() > 1024);
}

const CHOICES: &str = r#"plan "chosen" {
  model  = "meta-llama/Meta-Llama-3-8B"
  device = rtx4090
  engine = unsloth

  quantize nf4 { }

  adapter lora {
    rank    = fit [512, 16]
    dropout = fit [5%, 0%]
  }

  data { context = fit [8192, 2048] }

  train {
    precision     = bf16
    micro_batch   = fit [16, 8, 2, 1]
    checkpointing = sweep [auto, block]
  }

  budget { device_memory <= 14.5GiB; headroom >= 2% }
}
"#;

#[test]
fn a_resolved_plan_is_a_plan_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("choices.mem", CHOICES);
    let ran = command::run(folder.path(), &["resolve", "choices.mem"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(ran.out);

    write("chosen.mem", &ran.out);
    assert_eq!(command::run(folder.path(), &["fmt", "--check", "chosen.mem"]).code, 0);
    let check = command::run(folder.path(), &["check", "chosen.mem"]);
    assert_eq!(check.code, 0, "{}", check.out);
    // nothing is left to choose
    let again: Value =
        serde_json::from_str(&command::run(folder.path(), &["resolve", "chosen.mem", "--json"]).out).unwrap();
    for run in again["plans"].as_array().unwrap() {
        assert!(run["chosen"] == serde_json::json!({}) && run["fits"] == true, "{run}");
    }

    write("tight.mem", &CHOICES.replace("14.5GiB", "4GiB"));
    let tight = command::run(folder.path(), &["resolve", "tight.mem"]);
    assert_eq!(tight.code, 1);
    assert!(tight.out.starts_with("# Nothing meets the budget"), "{}", tight.out);
}

#[test]
fn single_changes_of_a_plan() {
    let value = json(&["what-if", "a.mem", "--json"]);
    let changes = value["plans"][0]["changes"].as_array().unwrap();
    let titled =
        |title: &str| changes.iter().find(|change| change["title"].as_str().unwrap().starts_with(title)).unwrap();
    assert!(titled("rank 16 -> 8")["saves_bytes"].as_u64().unwrap() > 0);
    assert_eq!(titled("rank 16 -> 8")["price"], "quality");
    assert!(titled("checkpointing -> none")["takes_bytes"].as_u64().unwrap() > 0);
    let text = run(&["what-if", "a.mem"]);
    assert!(text.code == 0 && text.out.contains("micro_batch 2 -> 1, accumulate 4 -> 8"), "{}{}", text.out, text.err);
}

#[test]
fn suggestions_are_plans_that_check_and_fit() {
    let ran =
        run(&["suggest", "--model", "meta-llama/Meta-Llama-3-8B", "--device", "t4", "--engine", "memspec", "--plan"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(ran.out);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("s.mem"), &ran.out).unwrap();
    let estimate = command::run(folder.path(), &["estimate", "s.mem"]);
    assert!(estimate.code == 0 && estimate.out.contains(": fits"), "{}{}", estimate.out, estimate.err);

    for (model, device, engine) in [
        ("HuggingFaceTB/SmolLM2-135M", "cpu", "memspec"),
        ("meta-llama/Meta-Llama-3-8B", "rtx4090", "trl"),
        ("Qwen/Qwen2.5-0.5B", "t4", "trl"),
        ("Qwen/Qwen2.5-3B", "l4", "unsloth"),
    ] {
        let ran = run(&["suggest", "--model", model, "--device", device, "--engine", engine, "--plan"]);
        fs::write(folder.path().join("clean.mem"), &ran.out).unwrap();
        let check = command::run(folder.path(), &["check", "clean.mem"]);
        assert_eq!(check.code, 0, "{model} on {device}: {}{}{}", ran.out, check.out, check.err);
    }

    let spent = json(&["suggest", "--model", "HuggingFaceTB/SmolLM2-135M", "--spend", "10usd/month", "--json"]);
    let first = &spent["suggestions"][0];
    assert_eq!(first["method"], "full");
    assert!(first["hours_a_month"].as_f64().unwrap() >= 20.0, "{first}");
}

#[test]
fn what_cannot_be_suggested_says_why() {
    for (arguments, code, words) in [
        (
            &["suggest", "--model", "meta-llama/Meta-Llama-3-70B", "--device", "t4", "--engine", "memspec"][..],
            1,
            "nothing fits with room to spare: even LoRA on 4 bits",
        ),
        (&["suggest", "--model", "meta-llama/Meta-Llama-3-8", "--device", "t4"], 2, "did you mean"),
        (&["suggest", "--model", "x"], 2, "--device"),
        (&["suggest", "--model", "x", "--spend", "100"], 2, "100usd/month"),
        (&["suggest", "--model", "x", "--device", "t4", "--context", "0"], 2, "at least one token"),
        (&["tables", "--assumptions", "bad.json"], 2, "is not a file of assumptions"),
        (&["tables", "--assumptions", "none.json"], 2, "cannot read"),
        (&["max", "height", "a.mem"], 2, "context, batch"),
    ] {
        let ran = run(arguments);
        assert!(
            ran.code == code && (ran.err.clone() + &ran.out).contains(words),
            "{arguments:?}: {} {}{}",
            ran.code,
            ran.err,
            ran.out
        );
    }
}

#[test]
fn an_estimate_says_what_serving_takes() {
    let value = json(&["estimate", "a.mem", "--json"]);
    let serve = &value["plans"][0]["serve"];
    // 4 conversations of 8192 tokens x 32 layers x 2 x 8 heads x 128 x 2 bytes
    assert_eq!(serve["cache"]["bytes"], 4_294_967_296_u64);
    let parts: u64 =
        ["weights", "cache", "workspace", "context"].iter().map(|part| serve[part]["bytes"].as_u64().unwrap()).sum();
    assert_eq!(serve["total"]["bytes"], parts);
    let text = run(&["estimate", "a.mem"]).out;
    assert!(text.contains("\nserving\n  weights        4.6 GiB"), "{text}");
}

#[test]
fn a_plan_that_only_serves_costs_what_serving_takes() {
    let folder = tempfile::tempdir().unwrap();
    let plan =
        PLAN.split("  quantize").next().unwrap().to_owned() + "  serve { precision = q4_k_m; context = 8192tok }\n}\n";
    fs::write(folder.path().join("serve.mem"), plan).unwrap();
    let value: Value =
        serde_json::from_str(&command::run(folder.path(), &["estimate", "serve.mem", "--json"]).out).unwrap();
    let plan = &value["plans"][0];
    assert_eq!((&plan["peak"]["phase"], &plan["peak"]["process"]), (&"serve".into(), &plan["serve"]["total"]));
    assert_eq!(plan["changes"], Value::Array(Vec::new()));
    let check = command::run(folder.path(), &["check", "serve.mem"]);
    assert_eq!(check.code, 0, "{}{}", check.out, check.err);
    insta::assert_snapshot!(command::run(folder.path(), &["estimate", "serve.mem"]).out);
}

#[test]
fn a_smaller_batch_of_the_evaluation_is_offered_where_that_is_the_peak() {
    let folder = tempfile::tempdir().unwrap();
    let plan = PLAN
        .replace("engine = memspec", "engine = trl")
        .replace("context = 1024tok", "context = 1024tok; eval_path = \"e.jsonl\" }\n  eval { micro_batch = 32");
    fs::write(folder.path().join("eval.mem"), plan.replace("t4", "h200")).unwrap();
    let value: Value =
        serde_json::from_str(&command::run(folder.path(), &["estimate", "eval.mem", "--json"]).out).unwrap();
    let plan = &value["plans"][0];
    assert_eq!(plan["peak"]["phase"], "evaluate");
    assert!(plan["by_setting"].as_array().unwrap().iter().any(|part| part["setting"] == "eval.micro_batch"), "{plan}");
    let changes = plan["changes"].as_array().unwrap();
    assert!(changes.iter().any(|change| change["title"] == "eval.micro_batch 32 -> 2"), "{changes:?}");
}

#[test]
fn another_engine_is_offered_where_it_was_measured() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("trl.mem"), PLAN.replace("engine = memspec", "engine = trl").replace("t4", "h200"))
        .unwrap();
    let text = command::run(folder.path(), &["what-if", "trl.mem"]).out;
    assert!(text.contains("engine trl -> unsloth") && !text.contains("-> memspec"), "{text}");
}

#[test]
fn the_guides_tables_are_whole_in_every_format() {
    let value = json(&["tables", "--json", "--engine", "memspec"]);
    let rows = value["rows"].as_array().unwrap();
    let of = |table: &str, subject: &str, figure: &str| {
        rows.iter()
            .find(|row| row["table"] == table && row["subject"] == subject && row["figure"] == figure)
            .unwrap_or_else(|| panic!("{table}: {subject}, {figure}"))
    };
    // an engine that does not run a model says so, and the rest stands
    assert_eq!(of("Training memory", "GPT-OSS-20B", "LoRA")["status"], "not_costed");
    let llama = of("Training memory", "Llama-3-8B", "LoRA + 4bit");
    assert_eq!((&llama["status"], &llama["says"], &llama["line"]), (&"number".into(), &"6GB".into(), &10.into()));
    assert!(llama["difference"].as_str().unwrap().ends_with(" %"), "{llama}");
    assert_eq!(of("Quality", "Llama-3-8B + LoRA", "MMLU score")["status"], "unknown");
    assert_eq!(of("Inference memory", "GPT-OSS-20B", "MXFP4, as published")["status"], "number");
    let models: std::collections::HashSet<_> =
        rows.iter().filter(|row| row["table"] == "Training memory").map(|row| row["subject"].to_string()).collect();
    assert_eq!(models.len(), 6);

    let csv = run(&["tables", "--csv", "--engine", "memspec"]).out;
    let assumptions = value["assumptions"].as_object().unwrap().len();
    assert_eq!(csv.lines().count(), 1 + assumptions + rows.len());
    let markdown = run(&["tables", "--engine", "memspec"]).out;
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")).count(), {
        let tables: std::collections::HashSet<_> = rows.iter().map(|row| row["table"].to_string()).collect();
        1 + assumptions + tables.len() + rows.len()
    });
}
