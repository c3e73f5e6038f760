//! Other trainers' files, linted and estimated as they are.

mod common;

use std::fs;

use common::command::{folder, run};

const FILE: &str = "\
model_name_or_path: meta-llama/Meta-Llama-3-8B
dataset_name: timdettmers/openassistant-guanaco
dtype: bfloat16
load_in_4bit: true
use_peft: true
lora_target_modules: [q_proj, v_proj]
per_device_train_batch_size: 8
max_length: 2048
optim: paged_adamw_8bit
optim_target_module: all
";

#[test]
fn findings_stand_at_the_files_own_keys() {
    let folder = folder(&[("sft.yaml", FILE)]);
    let checked = run(folder.path(), &["check", "sft.yaml", "--device", "rtx4090", "--output-format", "concise"]);
    insta::assert_snapshot!(checked.out);
    assert_eq!(checked.code, 1);
}

const AXOLOTL: &str = "\
base_model: meta-llama/Meta-Llama-3-8B   # the base
plugins:
  - my.own.Plugin
# what it learns
datasets:
  - path: mhenrichsen/alpaca_2k_test
    type: alpaca
sequence_len: 4096
adapter: lora
lora_r: 32
lora_alpha: 16
lora_target_linear: true
micro_batch_size: 8   # per card
gradient_accumulation_steps: 1
optimizer: 'adamw_torch'
bf16: true
flash_attention: true
";

/// What a fix makes of a file that does not fit, and what the check says of that.
fn check_fixed(file: &str, text: &str, fixes: &[&str]) -> String {
    let folder = folder(&[(file, text)]);
    let here = |arguments: &[&str]| {
        let device = ["check", file, "--device", "rtx4090", "--select", "MEM001"];
        run(folder.path(), &[device.as_slice(), fixes, arguments].concat())
    };
    let diff = here(&["--diff"]);
    assert_eq!(fs::read_to_string(folder.path().join(file)).unwrap(), text, "--diff writes nothing");
    let fixed = here(&["--fix"]);
    assert_eq!(fixed.code, 0, "{}{}", fixed.out, fixed.err);
    let again = here(&["--output-format", "concise"]);
    assert_eq!(again.code, 0, "{}", again.out);
    assert!(!again.out.contains("peak-over-budget"), "{}", again.out);
    diff.out + &fixed.out
}

#[test]
fn a_fix_changes_the_trainers_own_keys() {
    // a small model, whose changes are soon estimated
    let small = |text: &str, batch: &str| {
        text.replace("meta-llama/Meta-Llama-3-8B", "HuggingFaceTB/SmolLM2-135M")
            .replace(&format!("batch_size: {batch}"), "batch_size: 64")
    };
    insta::assert_snapshot!("fixed_axolotl", check_fixed("lora.yml", &small(AXOLOTL, "8"), &[]));
    insta::assert_snapshot!("fixed_trl", check_fixed("sft.yaml", &small(FILE, "8"), &[]));
    insta::assert_snapshot!("fixed_llamafactory", check_fixed("sft.yaml", &small(FACTORY, "4"), &["--unsafe-fixes"]));
}

#[test]
fn comments_allow_findings_there_too() {
    let folder = folder(&[("lora.yml", AXOLOTL)]);
    let check =
        |more: &[&str]| run(folder.path(), &[["check", "lora.yml", "--device", "rtx4090"].as_slice(), more].concat());
    let added = check(&["--add-allow=as in the paper"]);
    assert_eq!(added.code, 0, "{}{}", added.out, added.err);
    let text = fs::read_to_string(folder.path().join("lora.yml")).unwrap();
    assert!(text.contains("# memspec: allow("), "{text}");
    let without: String =
        text.lines().filter(|line| !line.contains("memspec: allow")).map(|l| l.to_owned() + "\n").collect();
    assert_eq!(without, AXOLOTL);
    assert_eq!(check(&[]).code, 0);
}

#[test]
fn an_estimate_says_what_of_the_file_it_does_not_know() {
    let folder = folder(&[("sft.yaml", FILE)]);
    let estimated = run(folder.path(), &["estimate", "sft.yaml", "--device", "rtx4090"]);
    assert_eq!(estimated.code, 0, "{}", estimated.err);
    insta::assert_snapshot!(estimated.err);
}

const FACTORY: &str = "\
model_name_or_path: meta-llama/Meta-Llama-3-8B
stage: sft
do_train: true
finetuning_type: lora
lora_target: all
quantization_bit: 4
dataset: notes
template: llama3
cutoff_len: 4096
per_device_train_batch_size: 4
bf16: true
predict_with_generate: true
output_dir: saves/notes
";

#[test]
fn a_file_of_llamafactory_is_checked_estimated_and_converted() {
    let folder = folder(&[("sft.yaml", FACTORY)]);
    let checked = run(folder.path(), &["check", "sft.yaml", "--device", "rtx4090", "--output-format", "concise"]);
    assert_eq!(checked.code, 1, "{}", checked.err);
    let estimated = run(folder.path(), &["estimate", "sft.yaml", "--device", "h100-80"]);
    assert_eq!(estimated.code, 0, "{}", estimated.err);
    let plan = run(folder.path(), &["convert", "sft.yaml", "--to", "mem"]);
    let written = run(folder.path(), &["convert", "sft.yaml", "--to", "llamafactory"]);
    insta::assert_snapshot!(format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        checked.out, estimated.out, plan.out, plan.err, written.out, written.err
    ));
}
