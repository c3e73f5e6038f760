//! Several cards under LLaMA-Factory's version 1: FSDP, DeepSpeed, or DDP where nothing is said. On how many it runs is said by what launches it.

use super::super::deepspeed::DeepSpeed;
use super::super::llamafactory::DEEPSPEED;
use super::super::read::Reading;
use super::super::write::Writing;
use crate::plan::Value;

pub(super) fn read(file: &mut Reading<'_>) {
    match file.text("dist_config.name").as_deref() {
        None => return,
        Some("fsdp2") => {
            file.open("parallel", "fsdp2", "dist_config.name");
            let reshard = file.flag("dist_config.reshard_after_forward");
            file.set("parallel.reshard", Value::Bool(reshard), "dist_config.reshard_after_forward");
            let offload = if file.flag("dist_config.offload_params") { "host" } else { "none" };
            file.set_word("parallel.offload", offload, "dist_config.offload_params");
            let whole = match file.text("init_config.name").as_deref() {
                Some("init_on_default") => true,
                Some("init_on_meta" | "init_on_rank0") => false,
                _ => {
                    let why = "it is init_on_default, init_on_meta or init_on_rank0";
                    return file.refuse("init_config.name", why);
                }
            };
            file.set("parallel.load_whole", Value::Bool(whole), "init_config.name");
        }
        Some("deepspeed") => {
            let key = "dist_config.config_file";
            if file.written(key).is_none() {
                return file.refuse("dist_config.name", "DeepSpeed's configuration is missing: `config_file`");
            }
            let Some(config) = DeepSpeed::read(file, key, DEEPSPEED) else { return };
            file.open("parallel", config.kind, "dist_config.name");
            config.read_offload(file, key);
        }
        Some(_) => return file.refuse("dist_config.name", "it is fsdp2 or deepspeed"),
    }
    let context = file.number("dist_config.cp_size").unwrap_or(1.0);
    file.set_number("parallel.context", context, "dist_config.cp_size");
    match cards(file) {
        Some((cards, key)) => file.set_number("parallel.gpus", cards, key),
        None => {
            file.set_number("parallel.gpus", context, "dist_config.cp_size");
            let fewest = context.to_string();
            file.assume("parallel.gpus", &fewest, "on how many cards it runs is said by what launches it");
        }
    }
    if file.text("dist_config.name").is_some_and(|name| name == "fsdp2") {
        file.differ(
            "dist_config.name",
            "on one card FSDP is not applied, and all is computed in the weights' own type",
        );
    }
}

/// All cards, where the file says how many share the model, or have batches of their own (`accelerator/interface.py:48`).
pub(super) fn cards(file: &mut Reading<'_>) -> Option<(f64, &'static str)> {
    let context = file.number("dist_config.cp_size").unwrap_or(1.0);
    let shards = file.number("dist_config.mp_shard_size").map(|cards| (cards, "dist_config.mp_shard_size"));
    shards.or_else(|| file.number("dist_config.dp_size").map(|batches| (batches * context, "dist_config.dp_size")))
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("parallel.kind") else { return };
    let offload = plan.get("parallel.offload").is_some_and(|word| word == "host");
    match kind.as_str() {
        "fsdp2" => {
            plan.put("dist_config.name", "fsdp2");
            let reshard = plan.take("parallel.reshard") != Some(false.into());
            plan.put_unless_default("dist_config.reshard_after_forward", reshard);
            plan.take("parallel.offload");
            plan.put_unless_default("dist_config.offload_params", offload);
            if plan.take("parallel.load_whole") != Some(true.into()) {
                plan.put("init_config.name", "init_on_meta");
            }
        }
        "zero2" | "zero3" => {
            plan.take("parallel.offload");
            plan.put("dist_config.name", "deepspeed");
            let file = match (kind.as_str(), offload) {
                ("zero2", false) => "examples/deepspeed/ds_z2_config.json",
                ("zero2", true) => "examples/deepspeed/ds_z2_offload_config.json",
                (_, false) => "examples/deepspeed/ds_z3_config.json",
                (_, true) => "examples/deepspeed/ds_z3_offload_config.json",
            };
            plan.put("dist_config.config_file", file);
        }
        "ddp" => {
            let how = "without `dist_config` it runs under DDP where it is launched on several cards";
            return plan.lose_block("parallel", how);
        }
        "zero1" => {
            return plan.lose_block("parallel", "LLaMA-Factory comes with no configuration of DeepSpeed's stage 1");
        }
        _ => return plan.lose_block("parallel", "LLaMA-Factory's version 1 splits no linears"),
    }
    let context = plan.take("parallel.context").and_then(|devices| devices.as_u64()).unwrap_or(1);
    plan.put_unless_default("dist_config.cp_size", context);
    let cards = plan.take("parallel.gpus").and_then(|cards| cards.as_u64()).unwrap_or(1);
    if plan.get("parallel.nodes").is_some_and(|nodes| nodes.as_u64() != Some(1)) {
        let launched = "on how many cards it runs is said by what launches it (`NPROC_PER_NODE`, `NNODES`)";
        plan.lose("parallel.nodes", launched);
        if cards != context {
            plan.lose("parallel.gpus", launched);
        }
    } else if cards != context {
        plan.put("dist_config.mp_shard_size", cards);
    }
}
