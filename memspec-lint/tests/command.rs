//! The command from end to end: what it prints, what it writes, what it ends with.

mod common;

use std::fs;
use std::path::Path;

use serde_json::Value;

use common::command::{folder, run};

const CLEAN: &str = r#"plan "clean" {
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
  device = t4

  adapter lora { rank = 16 }
  data { context = 512tok }
}
"#;

const TOO_BIG: &str = r#"# A comment that stays.
plan "too-big" {
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
  device = t4

  adapter lora { rank = 16 }
  data { context = 2048tok }

  train {
    micro_batch = 16   # as in the paper
  }

  budget { device_memory <= 800MiB }
}
"#;

#[test]
fn clean_plans_end_with_0() {
    let folder =
        folder(&[("a.mem", CLEAN), ("sub/b.mem", CLEAN), ("target/bad.mem", "junk"), (".hidden/bad.mem", "junk")]);
    let ran = run(folder.path(), &["check"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "2 files: all fits, nothing found\n", ""));
}

#[test]
fn folders_are_searched_for_plans_by_what_is_in_them() {
    let sft = "model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct\nuse_peft: true\nbf16: false\nfp16: true\n";
    let files = [
        ("train.yaml", "name: a\nmodel: HuggingFaceTB/SmolLM2-135M-Instruct\ndevice: t5\ntrain: {micro_batch: 1}\n"),
        ("trl/sft.yml", sft),
        (
            "chat.yaml",
            "model_name_or_path: HuggingFaceTB/SmolLM2-135M-Instruct\ntemplate: default\ninfer_backend: huggingface\n",
        ),
        ("workflow.yaml", "name: CI\non: push\njobs:\n  train:\n    model: x\n"),
        ("package.json", r#"{"name": "a", "model": "b", "version": "1.0.0"}"#),
        ("broken.json", "{"),
    ];
    let folder = folder(&files);
    let ran = run(folder.path(), &["check", "--device", "t4", "--output-format", "json"]);
    let checked: Value = serde_json::from_str(&ran.out).unwrap();
    let names: Vec<&str> =
        checked["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["train.yaml", "trl/sft.yml"]);
}

#[test]
fn files_that_are_no_plans_are_passed_over_for_hooks() {
    let folder = folder(&[("a.mem", CLEAN), ("ci.yaml", "name: CI\non: push\n"), ("notes.txt", "words")]);
    let ran = run(folder.path(), &["check", "--only-plans", "ci.yaml", "a.mem", "notes.txt"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "1 file: all fits, nothing found\n", ""));
    let ran = run(folder.path(), &["check", "--only-plans", "ci.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "0 files: nothing to check\n"), "{}", ran.err);
    // Who names one means it.
    assert_eq!(run(folder.path(), &["check", "ci.yaml"]).code, 1);
}

#[test]
fn findings_end_with_1_and_are_counted() {
    let folder = folder(&[("a.mem", CLEAN), ("b.mem", TOO_BIG), ("c.mem", &CLEAN.replace("t4", "t5"))]);
    let ran = run(folder.path(), &["check", "--output-format", "concise"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("b.mem:13:12: error[MEM001 peak-over-budget] plan `too-big` needs"), "{}", ran.out);
    assert!(
        ran.out
            .ends_with("3 files, 2 errors; 1 fixable with --fix --unsafe-fixes; --diff shows what makes plans fit\n"),
        "{}",
        ran.out
    );
    let ran = run(folder.path(), &["check", "--exit-zero"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    let summary = "3 files, 2 errors; 1 fixable with --fix; 1 more with --fix --unsafe-fixes\n";
    assert!(ran.out.ends_with(summary), "{}", ran.out);
}

#[test]
fn what_is_only_worth_knowing_ends_with_0() {
    let text = CLEAN.replace("data {", "budget { wall_clock <= 6h }\n  data {");
    let ran = run(folder(&[("a.mem", &text)]).path(), &["check"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(ran.out.contains("budget-limit-not-checked") && ran.out.ends_with("1 file, 1 info\n"), "{}", ran.out);
}

#[test]
fn fix_makes_a_plan_fit_and_keeps_the_rest_of_its_file() {
    let folder = folder(&[("big.mem", TOO_BIG)]);
    let diff = run(folder.path(), &["check", "--diff"]);
    assert_eq!(diff.code, 1);
    assert!(diff.out.contains("-    micro_batch = 16   # as in the paper\n"), "{}", diff.out);
    assert_eq!(fs::read_to_string(folder.path().join("big.mem")).unwrap(), TOO_BIG);

    let ran = run(folder.path(), &["check", "--fix"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("big.mem: fixed peak-over-budget: "), "{}", ran.out);
    let text = fs::read_to_string(folder.path().join("big.mem")).unwrap();
    for kept in ["# A comment that stays.\n", "# as in the paper\n", "device_memory <= 800MiB", "context = 2048tok"] {
        assert!(text.contains(kept), "{kept}:\n{text}");
    }
    let again = run(folder.path(), &["check"]);
    assert_eq!((again.code, again.out.as_str()), (0, "1 file: all fits, nothing found\n"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn a_plan_that_only_quality_can_make_fit_needs_unsafe_fixes() {
    let text = CLEAN.replace("HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Meta-Llama-3-8B");
    let folder = folder(&[("big.mem", &text)]);
    assert_eq!(run(folder.path(), &["check", "--fix"]).code, 1);
    assert_eq!(fs::read_to_string(folder.path().join("big.mem")).unwrap(), text);
    let ran = run(folder.path(), &["check", "--fix", "--unsafe-fixes"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert!(fs::read_to_string(folder.path().join("big.mem")).unwrap().contains("quantize "));
}

/// What makes a plan fit takes long to find out: a report of many has it for those that are read first, and says how to get the rest.
#[test]
fn of_many_plans_that_do_not_fit_the_first_are_repaired_in_the_report() {
    let folder = folder(&[]);
    for number in 0..12 {
        fs::write(folder.path().join(format!("{number:02}.mem")), TOO_BIG).unwrap();
    }
    let ran = run(folder.path(), &["check"]);
    assert_eq!((ran.code, ran.out.matches("MEM001 peak-over-budget").count()), (1, 12));
    assert_eq!(
        ran.out.matches(", fits").count(),
        10 * run(folder.path(), &["check", "00.mem"]).out.matches(", fits").count()
    );
    let summary = ran.out.lines().last().unwrap();
    assert_eq!(summary, "12 files, 12 errors; at least 10 fixable with --fix; --diff shows what makes plans fit");
    let all = run(folder.path(), &["check", "--json"]).out;
    assert_eq!(serde_json::from_str::<Value>(&all).unwrap()["summary"]["fixable"], 12, "{all}");
}

#[test]
fn yaml_plans_are_checked_and_fixed_by_name() {
    let text = "name: y\nmodel: HuggingFaceTB/SmolLM2-135M-Instruct\ndevice: t4\nadapter:\n  kind: lora\ndata:\n  context: 2048tok\n\
                train:\n  micro_batch: 16\nbudget:\n  device_memory: <= 800MiB\n";
    let folder = folder(&[("y.yaml", text)]);
    assert_eq!(run(folder.path(), &["check", "y.yaml"]).code, 1);
    let ran = run(folder.path(), &["check", "y.yaml", "--fix"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, fs::read_to_string(folder.path().join("y.yaml")).unwrap());
}

#[test]
fn what_cannot_run_ends_with_2_and_says_why() {
    let folder =
        folder(&[("a.mem", CLEAN), ("notes.txt", "notes"), ("empty/x.txt", ""), ("bad.mem", "plan {"), ("e.mem", "")]);
    for (arguments, words) in [
        (&["check", "nowhere.mem"][..], "cannot read `nowhere.mem`"),
        (&["check", "empty"], "no plans in `empty`"),
        (&["check", "notes.txt"], "`notes.txt` is not a plan file"),
        (&["estimate", "nowhere.mem"], "cannot read `nowhere.mem`"),
        (&["estimate", "bad.mem"], "SPEC001 syntax"),
        (&["estimate", "e.mem"], "there is no plan in this file"),
        (&["explain", "peak-over-bugdet"], "did you mean `peak-over-budget` (MEM001)?"),
        (&["explain", "MEM0001"], "did you mean `peak-over-budget` (MEM001)?"),
        (&["explain", "xyzzy-plugh"], "`memspec-lint rules` lists them all"),
    ] {
        let ran = run(folder.path(), arguments);
        assert!(
            ran.code == 2 && ran.err.contains(words) && ran.out.is_empty(),
            "{arguments:?}: {} {} {}",
            ran.code,
            ran.err,
            ran.out
        );
    }
}

#[test]
fn pages_lists_and_completions() {
    let folder = folder(&[]);
    let page = run(folder.path(), &["explain", "mem001"]);
    assert!(page.code == 0 && page.out.starts_with("# peak-over-budget (MEM001)\n"), "{}", page.out);
    let rules = run(folder.path(), &["rules"]);
    assert!(rules.code == 0 && rules.out.lines().count() == memspec_lint::registry::RULES.len(), "{}", rules.out);
    assert!(run(folder.path(), &["completions", "bash"]).out.contains("memspec-lint"));
    assert!(run(folder.path(), &["--version"]).out.starts_with("memspec-lint 0."));
    assert!(run(folder.path(), &["check", "--help"]).out.contains("--unsafe-fixes"));
}

/// The value is as a generated schema says.
fn matches(schema: &Value, value: &Value) {
    let errors: Vec<String> =
        jsonschema::validator_for(schema).unwrap().iter_errors(value).map(|error| error.to_string()).collect();
    assert_eq!(errors, [""; 0], "{value:#}");
}

fn schema(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas").join(name);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn json_of_check_is_as_its_schema_says() {
    let folder = folder(&[("a.mem", CLEAN), ("b.mem", TOO_BIG)]);
    let ran = run(folder.path(), &["check", "--json"]);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    let schema = schema("check.schema.json");
    matches(&schema, &value);
    assert_eq!(value["summary"]["errors"], 1);
    assert_eq!(value["files"][1]["findings"][0]["rule"], "peak-over-budget");
    assert_eq!(value["files"][1]["findings"][0]["fixes"][0]["applicability"], "safe");
}

#[test]
fn json_of_estimate_is_as_its_schema_says() {
    let sweep = CLEAN.replace("rank = 16", "rank = sweep [8, 16]");
    let folder = folder(&[("a.mem", &sweep)]);
    let ran = run(folder.path(), &["estimate", "a.mem", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let value: Value = serde_json::from_str(&ran.out).unwrap();
    let schema = schema("estimate.schema.json");
    matches(&schema, &value);
    assert_eq!(value["plans"].as_array().unwrap().len(), 2);
    let plan = &value["plans"][0];
    assert_eq!(plan["name"], "clean rank=8");
    assert_eq!(plan["fits"], true);
    let bytes = |list: &Value| list.as_array().unwrap().iter().map(|part| part["bytes"].as_u64().unwrap()).sum::<u64>();
    for parts in [&plan["at_peak"], &plan["by_setting"]] {
        assert_eq!(bytes(parts), plan["peak"]["allocated"]["bytes"].as_u64().unwrap());
    }
}

#[test]
fn the_table_of_an_estimate() {
    let folder = folder(&[("a.mem", TOO_BIG)]);
    let ran = run(folder.path(), &["estimate", "a.mem"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(ran.out);
}

/// Rows of engines and models that exist, and rows that nobody understands.
const ROWS: &str = r#"# a comment
{"job": {"model": "llama3-8b",  "cap_gib": 14.503333333333333333, "rnak": 8}, "peak": 3}

{"job": {"model": "llama4"}}
{"job": {"model": "llama3-8b"}, "gpu": "H2000"}
{"job": {"model": "llama3-8b"}, "peak": "8 GiB"}
{"job": {"model": "llama3-8b"}, "outcome": "maybe"}
{"peak": 3}
not JSON
[1]
"#;

#[test]
fn rows_that_are_not_understood_are_named_and_the_rest_goes_on() {
    let folder = folder(&[("rows.jsonl", ROWS)]);
    let ran = run(folder.path(), &["accuracy", "rows.jsonl", "--json"]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    // Echoed to the last digit.
    assert!(ran.out.contains(r#"{"model": "llama3-8b",  "cap_gib": 14.503333333333333333, "rnak": 8}"#), "{}", ran.out);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let said: Vec<&str> = report["rows"].as_array().unwrap().iter().map(|row| row["error"].as_str().unwrap()).collect();
    // Not the devices that there are: those grow.
    let said: Vec<&str> = said.iter().map(|error| error.split("; known").next().unwrap()).collect();
    insta::assert_snapshot!(said.join("\n"));
    assert_eq!(report["summary"]["failed"], 8);

    let ran = run(folder.path(), &["accuracy", "rows.jsonl"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.ends_with("0 rows predicted, 8 not\n"), "{}", ran.out);
}

#[test]
fn a_file_without_rows_ends_with_2() {
    let folder = folder(&[("rows.jsonl", "# nothing\n"), ("latin.jsonl", "{}\n")]);
    std::fs::write(folder.path().join("latin.jsonl"), [0xff, 0xfe]).unwrap();
    for (file, expected) in [
        ("rows.jsonl", "there are no rows in `rows.jsonl`"),
        ("none.jsonl", "cannot read `none.jsonl`"),
        ("latin.jsonl", "`latin.jsonl` is not UTF-8 text"),
    ] {
        let ran = run(folder.path(), &["accuracy", file]);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{file}");
        assert!(ran.err.contains(expected), "{}", ran.err);
    }
}

/// Words are a token each, and so is the end of text.
const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
    "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "decoder": null,
    "model": {"type": "WordLevel", "vocab": {"<eos>": 0, "word": 1}, "unk_token": "word"}}"#;
const CONFIG: &str = r#"{"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256, "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5, "tie_word_embeddings": true}"#;

#[test]
fn local_data_are_counted_and_say_how_long_it_trains() {
    let samples: String = (1..=100).map(|words| format!("{{\"text\": \"{}\"}}\n", "word ".repeat(words))).collect();
    let plan = r#"plan "counted" {
  model  = "model"
  device = cpu
  adapter lora { rank = 4 }
  data {
    path = "train.jsonl"
    context = 81tok
  }
  train {
    micro_batch = 4
    epochs = 2
  }
}
"#;
    let folder = folder(&[
        ("a.mem", plan),
        ("b.mem", &plan.replace("81tok", "1000tok")),
        ("train.jsonl", &samples),
        ("model/config.json", CONFIG),
        ("model/tokenizer.json", TOKENIZER),
        ("model/tokenizer_config.json", r#"{"eos_token": "<eos>"}"#),
    ]);
    let estimate = |plan: &str| {
        let ran = run(folder.path(), &["estimate", plan, "--json", "--price", "3600usd/h"]);
        assert_eq!(ran.code, 0, "{}", ran.err);
        let value: Value = serde_json::from_str(&ran.out).unwrap();
        matches(&schema("estimate.schema.json"), &value);
        value["plans"][0].clone()
    };
    let (cut, whole) = (estimate("a.mem"), estimate("b.mem"));
    assert_eq!((&cut["data"]["samples"], &cut["data"]["longest"]), (&100.into(), &81.into()));
    assert_eq!(cut["data"]["truncated_share"], 0.2);
    assert_eq!((&whole["data"]["longest"], &whole["data"]["tokens"]), (&101.into(), &5150.into()));
    assert_eq!(whole["time"]["steps"], 50);
    // a dollar a second
    let value = |path: &str| whole["time"].pointer(path).unwrap().as_f64().unwrap();
    assert!((value("/cost/usd/value") - value("/total_seconds/value")).abs() < 1e-9);
    // the longest sample decides the peak, not a context that no sample fills
    let peak = |plan: &Value| plan["peak"]["allocated"]["bytes"].as_u64().unwrap();
    assert!(peak(&whole) < 2 * peak(&cut));

    let table = run(folder.path(), &["estimate", "a.mem"]).out;
    for words in ["100 samples of", "20.0 % are longer than the context", "tokens/s", ", 50 steps"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let cut = run(folder.path(), &["check", "a.mem", "--output-format", "concise"]);
    assert!(cut.out.contains("20.0 % of the samples are longer than 81 tokens"), "{}", cut.out);
    assert!(!run(folder.path(), &["check", "b.mem"]).out.contains("ATT005"));
    let wrong = run(folder.path(), &["estimate", "a.mem", "--price", "3600"]);
    assert!(wrong.code == 2 && wrong.err.contains("write it as `1.99usd/h`"), "{}", wrong.err);
}

#[test]
fn plans_are_laid_out() {
    let messy = "plan \"p\" {\n model=\"m\"   # a folder\n}\n";
    let neat = "plan \"p\" {\n  model = \"m\"  # a folder\n}\n";
    let folder = folder(&[("messy.mem", messy), ("sub/neat.mem", neat)]);
    let checked = run(folder.path(), &["fmt", "--check"]);
    assert_eq!((checked.code, checked.out.as_str()), (1, "messy.mem\n1 of 2 files would change\n"));
    let diff = run(folder.path(), &["fmt", "--diff", "messy.mem"]);
    assert!(
        diff.code == 1 && diff.out.contains("-model=\"m\"") || diff.out.contains("+  model = \"m\"  # a folder"),
        "{}",
        diff.out
    );
    assert_eq!(fs::read_to_string(folder.path().join("messy.mem")).unwrap(), messy);

    let ran = run(folder.path(), &["fmt"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "1 of 2 files changed\n"));
    assert_eq!(fs::read_to_string(folder.path().join("messy.mem")).unwrap(), neat);
    let again = run(folder.path(), &["fmt", "--check"]);
    assert_eq!((again.code, again.out.as_str()), (0, "2 files: all in the style\n"));

    fs::write(folder.path().join("plan.yaml"), "name: p\n").unwrap();
    let yaml = run(folder.path(), &["fmt", "plan.yaml"]);
    assert_eq!(yaml.code, 2);
    assert!(yaml.err.contains("`plan.yaml` is not in the language"), "{}", yaml.err);
}

#[test]
fn an_estimate_fails_a_check_only_beyond_its_error_bar() {
    // 12.6 to 13.6 GiB
    let plan = |limit: &str| {
        format!(
            "plan \"edge\" {{ model = \"TinyLlama/TinyLlama-1.1B-Chat-v1.0\"; device = l4; engine = trl; adapter lora {{ }}\n  \
             data {{ context = 2048tok }}; train {{ micro_batch = 2 }}; budget {{ device_memory <= {limit} }} }}\n"
        )
    };
    let folder = tempfile::tempdir().unwrap();
    for (limit, code, severity) in [("13.2GiB", 0, "warning"), ("12GiB", 1, "error")] {
        std::fs::write(folder.path().join("edge.mem"), plan(limit)).unwrap();
        let ran = run(folder.path(), &["check", "edge.mem", "--output-format", "concise"]);
        assert_eq!(ran.code, code, "{limit}: {}", ran.out);
        assert!(ran.out.contains(&format!("{severity}[MEM001 peak-over-budget]")), "{limit}: {}", ran.out);
    }
}

#[test]
fn a_trainers_file_becomes_a_plan_and_back() {
    let sft = "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: trl-lib/Capybara\nuse_peft: true\ndtype: bfloat16\nlogging_steps: 5\nlearning_rates: 1e-4\n";
    let folder =
        folder(&[("sft.yaml", sft), ("a.mem", CLEAN), ("two.mem", &CLEAN.repeat(2).replacen("clean", "other", 1))]);
    let ran = run(folder.path(), &["convert", "sft.yaml", "--to", "mem"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.out.contains("context = 1024tok"), "{}", ran.out);
    insta::assert_snapshot!("what_trl_says_beside_the_plan", ran.err);
    let ran = run(folder.path(), &["convert", "sft.yaml", "--to", "yaml", "--json"]);
    let json: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["from"], &json["notes"][1]["nearest"]), (&"trl".into(), &"learning_rate".into()));
    let ran = run(folder.path(), &["convert", "a.mem", "--to", "trl", "-o", "out.yaml"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{}", ran.err);
    insta::assert_snapshot!("what_trl_cannot_say", ran.err);
    assert!(fs::read_to_string(folder.path().join("out.yaml")).unwrap().contains("lora_r: 16"));
    let ran = run(folder.path(), &["convert", "two.mem", "--to", "trl"]);
    assert_eq!(ran.code, 2);
    assert_eq!(
        ran.err,
        "error: a file of trl holds one plan, and here are 2\n  help: `--plan NAME` takes one of them\n"
    );
    assert_eq!(run(folder.path(), &["convert", "two.mem", "--to", "trl", "--plan", "other"]).code, 1);
    let yaml = run(folder.path(), &["convert", "two.mem", "--to", "yaml", "-o", "two.yaml"]);
    assert_eq!((yaml.code, yaml.err.as_str()), (0, ""));
    let back = run(folder.path(), &["convert", "two.yaml", "--to", "json"]);
    assert_eq!(back.code, 0, "{}", back.err);
}
