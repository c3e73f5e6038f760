//! Several cards under LLaMA-Factory: DeepSpeed's configuration or FSDP's. On how many it runs is said by what launches it.

use super::super::deepspeed::DeepSpeed;
use super::super::read::{Reading, scalar};
use super::super::training_arguments;
use super::super::write::Writing;
use crate::plan::Value;

/// Configurations that LLaMA-Factory comes with (`examples/deepspeed`).
pub(in super::super) const DEEPSPEED: &[(&str, DeepSpeed)] = &[
    ("ds_z2_config.json", DeepSpeed::new("zero2", false, false)),
    ("ds_z2_offload_config.json", DeepSpeed::new("zero2", true, false)),
    ("ds_z3_config.json", DeepSpeed::new("zero3", false, false)),
    ("ds_z3_fp8_config.json", DeepSpeed::new("zero3", false, false)),
    ("ds_z3_offload_config.json", DeepSpeed::new("zero3", true, true)),
];

pub(super) fn read(file: &mut Reading<'_>) {
    let named = file.written("deepspeed").map(|path| scalar(&path)).unwrap_or_default();
    let workers = file.number("ray_num_workers").unwrap_or(1.0);
    if named.ends_with("ds_z0_config.json") {
        file.differ("deepspeed", "DeepSpeed's stage 0 shares nothing: it is costed as DDP");
        file.open("parallel", "ddp", "deepspeed");
    } else if named.contains("autotp") {
        return file.uncosted("deepspeed", "linears that DeepSpeed splits over the cards are not costed");
    } else if let Some(config) = DeepSpeed::read(file, "deepspeed", DEEPSPEED) {
        file.open("parallel", config.kind, "deepspeed");
        config.read_offload(file, "deepspeed");
    } else if training_arguments::is_sharded(file) {
        fsdp(file);
    } else if workers > 1.0 {
        file.open("parallel", "ddp", "ray_num_workers");
    } else {
        return;
    }
    if file.written("ray_num_workers").is_some() {
        file.set_number("parallel.gpus", workers, "ray_num_workers");
    } else {
        file.assume("parallel.gpus", "1", "on how many cards it runs is said by what launches it");
    }
}

fn fsdp(file: &mut Reading<'_>) {
    file.open("parallel", "fsdp2", "fsdp");
    if file.written("fsdp_config.version").is_none() && file.written("fsdp_config.fsdp_version").is_none() {
        file.differ("fsdp", "which FSDP it is hangs on the version of transformers: FSDP 2 is costed");
    }
    let words = match file.written("fsdp") {
        Some(serde_yaml::Value::Sequence(words)) => words.iter().map(scalar).collect::<Vec<_>>().join(" "),
        one => one.map(|word| scalar(&word)).unwrap_or_default(),
    };
    let key = "fsdp_config.cpu_offload";
    let configured = file.flag(key);
    let offload = if configured || words.contains("offload") { "host" } else { "none" };
    file.set_word("parallel.offload", offload, if configured { key } else { "fsdp" });
    let key = "fsdp_config.reshard_after_forward";
    let reshard = file.written(key).is_none() || file.flag(key);
    file.set("parallel.reshard", Value::Bool(reshard && !words.contains("shard_grad_op")), key);
    let key = "fsdp_config.activation_checkpointing";
    let wrapped = file.flag(key);
    file.set("parallel.wrapped_checkpointing", Value::Bool(wrapped), key);
    if wrapped && !file.flag("disable_gradient_checkpointing") {
        let how = "blocks are checkpointed twice, by FSDP and by the model: `disable_gradient_checkpointing: true` leaves it to FSDP";
        file.differ(key, how);
    }
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("parallel.kind") else { return };
    let launched = "on how many cards it runs is said by what launches it (`NPROC_PER_NODE`, `NNODES`)";
    let offload = plan.get("parallel.offload").is_some_and(|word| word == "host");
    match kind.as_str() {
        "tensor" => return plan.lose_block("parallel", "LLaMA-Factory splits linears with DeepSpeed alone"),
        "ddp" => {
            return plan.lose_block(
                "parallel",
                "on several cards it runs under DDP where it is launched so: `FORCE_TORCHRUN=1`",
            );
        }
        "fsdp2" => {
            plan.take("parallel.offload");
            plan.put("fsdp", if offload { "full_shard offload auto_wrap" } else { "full_shard auto_wrap" });
            plan.put("fsdp_config.version", 2);
            if plan.take("parallel.reshard") == Some(false.into()) {
                plan.put("fsdp_config.reshard_after_forward", false);
            }
            let wrapped = plan.take("parallel.wrapped_checkpointing") == Some(true.into());
            let recomputed = plan.get("train.checkpointing").is_some_and(|word| word != "none");
            if wrapped && recomputed {
                plan.put("fsdp_config.activation_checkpointing", true);
            } else if wrapped {
                plan.lose("parallel.wrapped_checkpointing", "without `checkpointing` nothing is checkpointed");
            }
        }
        zero => {
            plan.take("parallel.offload");
            match (zero, offload) {
                ("zero2", false) => plan.put("deepspeed", "examples/deepspeed/ds_z2_config.json"),
                ("zero2", true) => plan.put("deepspeed", "examples/deepspeed/ds_z2_offload_config.json"),
                ("zero3", false) => plan.put("deepspeed", "examples/deepspeed/ds_z3_config.json"),
                ("zero3", true) => plan.put("deepspeed", "examples/deepspeed/ds_z3_offload_config.json"),
                _ => plan.put("deepspeed", DeepSpeed::yaml(zero, offload)),
            }
        }
    }
    for path in ["parallel.gpus", "parallel.nodes"] {
        if plan.get(path).is_some_and(|count| count.as_u64() != Some(1)) {
            plan.lose(path, launched);
        }
    }
}
