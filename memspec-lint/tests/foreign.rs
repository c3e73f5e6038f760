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
fn findings_stand_at_the_files_own_keys_and_nothing_is_written_into_it() {
    let folder = folder(&[("sft.yaml", FILE)]);
    let checked = run(folder.path(), &["check", "sft.yaml", "--device", "rtx4090", "--output-format", "concise"]);
    insta::assert_snapshot!(checked.out);
    assert_eq!(checked.code, 1);
    run(folder.path(), &["check", "sft.yaml", "--device", "rtx4090", "--fix", "--unsafe-fixes"]);
    assert_eq!(fs::read_to_string(folder.path().join("sft.yaml")).unwrap(), FILE);
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
