//! Several cards under axolotl: FSDP's or DeepSpeed's configuration. On how many it runs is said by what launches it.

use serde_yaml::Value as Yaml;

use super::super::deepspeed::DeepSpeed;
use super::super::read::Reading;
use super::super::write::Writing;
use crate::plan::Value;

/// Configurations that axolotl comes with (`deepspeed_configs`).
const KNOWN: &[(&str, DeepSpeed)] = &[
    ("zero1.json", DeepSpeed::new("zero1", false, false)),
    ("zero1_torch_compile.json", DeepSpeed::new("zero1", false, false)),
    ("zero2.json", DeepSpeed::new("zero2", true, false)),
    ("zero2_torch_compile.json", DeepSpeed::new("zero2", true, false)),
    ("zero3.json", DeepSpeed::new("zero3", false, false)),
    ("zero3_bf16.json", DeepSpeed::new("zero3", false, false)),
    ("zero3_bf16_cpuoffload_all.json", DeepSpeed::new("zero3", true, true)),
    ("zero3_bf16_cpuoffload_params.json", DeepSpeed::new("zero3", false, true)),
];

pub(super) fn read(file: &mut Reading<'_>) {
    if let Some(config) = DeepSpeed::read(file, "deepspeed", KNOWN) {
        file.open("parallel", config.kind, "deepspeed");
        config.read_offload(file, "deepspeed");
    } else if is_sharded(file) {
        if file.number("fsdp_version").is_some_and(|version| version != 2.0) {
            file.uncosted("fsdp_version", "FSDP 1 is not costed, FSDP 2 is");
        }
        let key = if file.is_written("fsdp_config") { "fsdp_config.reshard_after_forward" } else { "fsdp" };
        file.open("parallel", "fsdp2", key);
        let reshard = file.flag("fsdp_config.reshard_after_forward");
        file.set("parallel.reshard", Value::Bool(reshard), "fsdp_config.reshard_after_forward");
        let offload = file.flag("fsdp_config.offload_params");
        file.set_word("parallel.offload", if offload { "host" } else { "none" }, "fsdp_config.offload_params");
        let key = "fsdp_config.activation_checkpointing";
        let wrapped = file.flag(key);
        file.set("parallel.wrapped_checkpointing", Value::Bool(wrapped), key);
    } else if file.flag("ddp") {
        file.open("parallel", "ddp", "ddp");
    } else {
        return;
    }
    // Cards that share samples are counted beside these.
    let shards = file.written("dp_shard_size").filter(|_| !file.is_written("context_parallel"));
    match shards.and_then(|_| file.number("dp_shard_size")) {
        Some(cards) if cards >= 1.0 => file.set_number("parallel.gpus", cards, "dp_shard_size"),
        _ => file.assume("parallel.gpus", "1", "on how many cards it runs is said by what launches it"),
    }
}

/// FSDP is asked for, by its configuration or in its former words.
pub(super) fn is_sharded(file: &Reading<'_>) -> bool {
    file.is_written("fsdp_config")
        || match file.written("fsdp") {
            None | Some(Yaml::Bool(false)) => false,
            Some(Yaml::Sequence(words)) => !words.is_empty(),
            Some(_) => true,
        }
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("parallel.kind") else { return };
    let offload = plan.take_word("parallel.offload").as_deref() == Some("host");
    match kind.as_str() {
        "tensor" => return plan.lose_block("parallel", "axolotl splits linears with DeepSpeed alone"),
        "fsdp2" => {
            let reshard = plan.take("parallel.reshard") != Some(false.into());
            plan.put("fsdp_config.reshard_after_forward", reshard);
            plan.put_unless_default("fsdp_config.offload_params", offload);
            let wrapped = plan.take("parallel.wrapped_checkpointing") == Some(true.into());
            let recomputed = plan.get("train.checkpointing").is_some_and(|word| word != "none");
            plan.put_unless_default("fsdp_config.activation_checkpointing", wrapped && recomputed);
            if wrapped && !recomputed {
                plan.lose("parallel.wrapped_checkpointing", "without `checkpointing` nothing is checkpointed");
            }
        }
        "ddp" => {
            plan.put("ddp", true);
            if offload {
                plan.lose("parallel.offload", "DDP has whole copies on the cards");
            }
        }
        zero => plan.put("deepspeed", DeepSpeed::yaml(zero, offload)),
    }
    let count = |value: Option<serde_json::Value>| value.and_then(|count| count.as_u64()).unwrap_or(1);
    let (gpus, nodes) = (count(plan.get("parallel.gpus")), count(plan.get("parallel.nodes")));
    let launched = "on how many cards it runs is said by what launches it";
    if kind == "fsdp2" && nodes == 1 && plan.says("parallel.gpus") {
        plan.take("parallel.gpus");
        plan.put("dp_shard_size", gpus);
    } else if gpus != 1 {
        plan.lose("parallel.gpus", launched);
    }
    if nodes != 1 {
        plan.lose("parallel.nodes", launched);
    }
}
