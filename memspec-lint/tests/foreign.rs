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

/// The codes of what is said of a file of axolotl with these lines more.
fn codes_of_axolotl(more: &str) -> Vec<String> {
    let model = if more.contains("base_model") { "" } else { "base_model: meta-llama/Meta-Llama-3-8B\n" };
    let text = format!(
        "{model}datasets: [{{path: notes, type: alpaca}}]\nsequence_len: 512\nmicro_batch_size: 1\n\
         bf16: true\nattn_implementation: flash_attention_2\ngradient_checkpointing: true\n{more}"
    );
    let folder = folder(&[("sft.yaml", &text)]);
    let checked =
        run(folder.path(), &["check", "sft.yaml", "--device", "h200", "--output-format", "json", "--select", "ALL"]);
    let checked: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    let findings = checked["files"][0]["findings"].as_array().unwrap().clone();
    findings.iter().filter_map(|finding| Some(finding["code"].as_str()?.to_owned())).collect()
}

#[track_caller]
fn check_says(code: &str, says: bool, more: &str) {
    let codes = codes_of_axolotl(more);
    assert_eq!(codes.iter().any(|found| found == code), says, "{code} of {more}: {codes:?}");
}

#[test]
fn a_small_rate_is_one_for_all_weights_only_in_supervised_fine_tuning() {
    let small = "adapter: lora\nlora_r: 8\nlora_target_modules: [q_proj, v_proj]\nlearning_rate: 5e-6\n";
    check_says("LOR010", true, small);
    check_says("LOR010", false, &format!("{small}rl: dpo\n"));
}

#[test]
fn torchao_steps_on_the_shards_that_bitsandbytes_does_not_know() {
    let sharded = "fsdp_version: 2\nfsdp_config: {reshard_after_forward: true}\ndp_shard_size: 2\n";
    check_says("OPT003", true, &format!("{sharded}optimizer: adamw_bnb_8bit\n"));
    check_says("OPT003", false, &format!("{sharded}optimizer: adamw_torch_8bit\n"));
}

#[test]
fn who_names_the_attention_means_no_expert() {
    let experts = "base_model: Qwen/Qwen3-30B-A3B\nadapter: lora\nlora_r: 8\nlora_target_modules: [q_proj, v_proj]\n";
    check_says("LOR004", false, experts);
    let experts = "base_model: openai/gpt-oss-20b\nadapter: lora\nlora_r: 8\nlora_target_linear: true\n";
    check_says("LOR004", true, experts);
}

#[test]
fn settings_of_an_adapter_that_nobody_asks_for() {
    check_says("LOR014", true, "lora_r: 8\nlora_alpha: 16\nlora_target_linear: true\n");
    check_says("LOR014", false, "lora_r: 8\nlora_alpha: 16\nlora_target_linear: true\nadapter: lora\n");
    // What templates leave open.
    check_says("LOR014", false, "lora_target_modules:\nlora_target_linear: false\n");
}

#[test]
fn the_best_checkpoint_needs_an_evaluation() {
    let best = "val_set_size: 0.1\nload_best_model_at_end: true\n";
    check_says("EVL001", true, &format!("{best}save_steps: 500\neval_steps: 200\n"));
    check_says("EVL001", true, &format!("{best}save_steps: 500\n"));
    check_says("EVL001", false, &format!("{best}save_steps: 500\neval_steps: 250\n"));
    // Epochs and shares of a run are not known here.
    check_says("EVL001", false, &format!("{best}saves_per_epoch: 2\nevals_per_epoch: 4\n"));
    check_says("EVL001", false, "val_set_size: 0.1\nsave_steps: 500\neval_steps: 200\n");
}

#[test]
fn new_words_are_learnt_where_embeddings_are_trained() {
    let words = "adapter: lora\nlora_r: 8\nlora_target_linear: true\ntokens: [<tool>]\n";
    check_says("LOR011", true, words);
    check_says("LOR011", true, &format!("{words}lora_modules_to_save: [embed_tokens]\n"));
    check_says("LOR011", false, &format!("{words}lora_modules_to_save: [embed_tokens, lm_head]\n"));
    check_says("LOR011", false, &format!("{words}peft_trainable_token_indices: [128256]\n"));
    check_says("LOR011", false, "tokens: [<tool>]\n");
}

#[test]
fn the_end_of_an_answer_is_learnt_of_texts_but_not_of_images() {
    let end = "base_model: Qwen/Qwen2-VL-7B-Instruct\nspecial_tokens: {pad_token: <|im_end|>, eos_token: <|im_end|>}\n";
    check_says("TOK001", false, end);
    check_says("TOK001", true, &format!("{end}processor_type: AutoProcessor\n"));
}

#[test]
fn axolotl_maps_devices_itself_where_there_are_several() {
    let spread = "device_map: auto\ndp_shard_size: 2\n";
    let sharded = "fsdp_version: 2\nfsdp_config: {reshard_after_forward: true}\n";
    check_says("DST002", false, &format!("{spread}{sharded}"));
    check_says("DST001", false, &format!("{spread}deepspeed: deepspeed_configs/zero3.json\n"));
    check_says("HW006", false, "tf32: true\n");
}
