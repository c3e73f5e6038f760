//! Several cards under TRL: the name of one of its configurations of accelerate, or transformers' own arguments.

use super::super::deepspeed::DeepSpeed;
use super::super::read::Reading;
use super::super::training_arguments;
use super::super::write::Writing;
use crate::plan::Value;

/// Processes of TRL's configurations (`trl/accelerate_configs`).
const PROCESSES: f64 = 8.0;

pub(super) fn read(file: &mut Reading<'_>) {
    let processes = file.written("num_processes").and_then(|_| file.number("num_processes"));
    let named = file.text("accelerate_config");
    let mut config = None;
    let (kind, key, processes) = match named.as_deref() {
        Some("single_gpu") => return,
        Some("multi_gpu") => ("ddp", "accelerate_config", processes.or(Some(PROCESSES))),
        Some("fsdp2") => ("fsdp2", "accelerate_config", processes.or(Some(PROCESSES))),
        Some("zero1") => ("zero1", "accelerate_config", processes.or(Some(PROCESSES))),
        Some("zero2") => ("zero2", "accelerate_config", processes.or(Some(PROCESSES))),
        Some("zero3") => ("zero3", "accelerate_config", processes.or(Some(PROCESSES))),
        Some("fsdp1") => return file.uncosted("accelerate_config", "FSDP 1 is not costed, FSDP 2 is: `fsdp2`"),
        Some(_) => {
            let why = "of accelerate's configurations those of TRL are known, by name: multi_gpu, fsdp2, zero1, zero2 and zero3";
            return file.refuse("accelerate_config", why);
        }
        None if training_arguments::is_sharded(file) => ("fsdp2", "fsdp", processes),
        None => match file.written("deepspeed") {
            Some(_) => {
                config = DeepSpeed::read(file, "deepspeed", &[]);
                let Some(config) = config else { return };
                (config.kind, "deepspeed", processes)
            }
            None if processes.is_some_and(|processes| processes > 1.0) => ("ddp", "num_processes", processes),
            None => return,
        },
    };
    file.open("parallel", kind, key);
    let machines = file.number("num_machines").unwrap_or(1.0).max(1.0);
    match processes {
        Some(processes) if (processes / machines).fract() == 0.0 && processes >= machines => {
            file.set_number("parallel.gpus", processes / machines, "num_processes");
        }
        Some(_) => file.refuse("num_processes", "each machine has as many"),
        None => {
            file.assume("parallel.gpus", "1", "on how many cards it runs is not in the file: `num_processes` says so")
        }
    }
    file.set_number("parallel.nodes", machines, "num_machines");
    offload(file, kind, config);
    if kind == "fsdp2" {
        // Legacy `shard_grad_op` gathers once for both passes.
        let legacy = file.text("fsdp").is_some_and(|words| words.contains("shard_grad_op"));
        let key = if file.written("fsdp_config.reshard_after_forward").is_some() {
            "fsdp_config.reshard_after_forward"
        } else {
            "fsdp_reshard_after_forward"
        };
        let reshard = file.flag(key) && !legacy;
        file.set("parallel.reshard", Value::Bool(reshard), key);
        let key = if file.flag("fsdp_config.activation_checkpointing") {
            "fsdp_config.activation_checkpointing"
        } else {
            "fsdp_activation_checkpointing"
        };
        let wrapped = file.flag(key);
        file.set("parallel.wrapped_checkpointing", Value::Bool(wrapped), key);
        if wrapped && file.flag("gradient_checkpointing") {
            file.differ(key, "blocks are checkpointed twice, by FSDP and by the model: `gradient_checkpointing: false` leaves it to FSDP");
        }
    }
}

/// What of it rests in host memory.
fn offload(file: &mut Reading<'_>, kind: &'static str, config: Option<DeepSpeed>) {
    if kind != "fsdp2" {
        let mut host = |key: &str| file.text(key).is_some_and(|device| device == "cpu");
        let launched = DeepSpeed::new(kind, host("offload_optimizer_device"), host("offload_param_device"));
        let key = if config.is_some() { "deepspeed" } else { "offload_optimizer_device" };
        return config.unwrap_or(launched).read_offload(file, key);
    }
    let legacy = file.text("fsdp").is_some_and(|words| words.contains("offload"));
    let configured = file.flag("fsdp_config.cpu_offload");
    let offloaded = file.flag("fsdp_offload_params") || configured || legacy;
    let key = if configured { "fsdp_config.cpu_offload" } else { "fsdp_offload_params" };
    file.set_word("parallel.offload", if offloaded { "host" } else { "none" }, key);
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("parallel.kind") else { return };
    let count = |value: Option<serde_json::Value>| value.and_then(|count| count.as_u64()).unwrap_or(1);
    let (gpus, nodes) = (count(plan.take("parallel.gpus")), count(plan.take("parallel.nodes")));
    let name = match kind.as_str() {
        "ddp" => "multi_gpu",
        "fsdp2" | "zero1" | "zero2" | "zero3" => kind.as_str(),
        _ => return plan.lose_block("parallel", "TRL's command has no tensor parallelism"),
    };
    plan.put("accelerate_config", name);
    plan.put("num_processes", gpus.saturating_mul(nodes));
    plan.put_unless_default("num_machines", nodes);
    let offloaded = plan.take_word("parallel.offload").as_deref() == Some("host");
    match kind.as_str() {
        "fsdp2" => {
            plan.put_unless_default("fsdp_offload_params", offloaded);
            let reshards = plan.take("parallel.reshard") != Some(false.into());
            plan.put_unless_default("fsdp_reshard_after_forward", reshards);
            let wrapped = plan.take("parallel.wrapped_checkpointing") == Some(true.into());
            let recomputed = plan.get("train.checkpointing").is_some_and(|word| word != "none");
            plan.put_unless_default("fsdp_activation_checkpointing", wrapped && recomputed);
            if wrapped && !recomputed {
                plan.lose("parallel.wrapped_checkpointing", "without `checkpointing` nothing is checkpointed");
            }
        }
        "ddp" if offloaded => plan.lose("parallel.offload", "DDP has whole copies on the cards"),
        "ddp" => {}
        zero => {
            if offloaded {
                plan.put("offload_optimizer_device", "cpu");
            }
            if offloaded && zero == "zero3" {
                plan.put("offload_param_device", "cpu");
            }
        }
    }
}
