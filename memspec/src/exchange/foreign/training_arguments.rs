//! transformers' `TrainingArguments` (`transformers/training_args.py`): what its keys mean to every trainer that parses them. Where trainers have
//! other defaults, or do more, a key is in their own tables.

use serde_yaml::Value as Yaml;

use super::hugging_face::OPTIMIZERS;
use super::read::Reading;
use super::table::{Form, Key, aside, differs, formed, former, part, refused, setting};
use super::write::{Writing, float, share, yaml};
use crate::plan::{Item, Value};
use crate::quantity::{Dimension, Quantity};

const EVALUATION: &str = "evaluation is costed as the trainer does it by default";
const HUB: &str = "publishing";
const LOGS: &str = "what is logged";
const LOADING: &str = "how samples are loaded";
const PROCESSES: &str = "how processes find each other";

const ORDERS: &[(&str, &str)] = &[("random", "random"), ("sequential", "sequential"), ("group_by_length", "by_length")];

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    // the step
    setting("per_device_train_batch_size", "train.micro_batch").or("8"),
    setting("gradient_accumulation_steps", "train.accumulate").or("1"),
    refused("liger_kernel_config", &[], "Liger's kernels are costed all together"),
    refused("label_smoothing_factor", &["0"], "its own loss over all logits is not costed"),
    // learning
    formed("optim", "train.optimizer", Form::Words(OPTIMIZERS)).or("adamw_torch_fused"),
    refused("optim_args", &[], "an optimizer's own arguments may change its states"),
    refused("optim_target_modules", &[], "optimizers on some modules are not costed"),
    part("lr_scheduler_type", "`train.schedule`").or("linear"),
    aside("lr_scheduler_kwargs", "how the learning rate goes on"),
    part("warmup_steps", "`train.warmup`; below 1 a share of all steps").or("0"),
    former("warmup_ratio", "warmup_steps"),
    setting("weight_decay", "train.weight_decay").or("0"),
    part("adam_beta1", "`train.betas`").or("0.9"),
    part("adam_beta2", "`train.betas`").or("0.999"),
    aside("adam_epsilon", "a number of the optimizer's step"),
    setting("max_grad_norm", "train.clip").or("1"),
    part("num_train_epochs", "`train.epochs`").or("3"),
    part("max_steps", "`train.steps`").or("-1"),
    setting("seed", "seed").or("42"),
    aside("data_seed", "the order of samples"),
    differs("neftune_noise_alpha", &["0"], "noise as large as the embeddings' output is added to them"),
    aside("average_tokens_across_devices", "what a loss is divided by"),
    // evaluation
    part("eval_strategy", "`data.eval_path` and `eval`").or("no"),
    former("evaluation_strategy", "eval_strategy"),
    part("eval_steps", "`eval.every`"),
    setting("per_device_eval_batch_size", "eval.micro_batch").or("8"),
    differs("prediction_loss_only", &["false"], EVALUATION),
    differs("eval_accumulation_steps", &[], EVALUATION),
    refused("bf16_full_eval", &["false"], EVALUATION),
    refused("fp16_full_eval", &["false"], EVALUATION),
    aside("eval_delay", "when evaluation begins"),
    aside("eval_on_start", "when evaluation begins"),
    aside("eval_do_concat_batches", LOGS),
    aside("eval_use_gather_object", LOGS),
    aside("include_for_metrics", LOGS),
    aside("batch_eval_metrics", LOGS),
    // checkpoints
    setting("output_dir", "output"),
    part("save_strategy", "`save.every`").or("steps"),
    part("save_steps", "`save.every`").or("500"),
    setting("save_total_limit", "save.keep"),
    aside("save_only_model", "what is in a checkpoint"),
    aside("save_on_each_node", "where checkpoints are"),
    aside("enable_jit_checkpoint", "when a checkpoint is written"),
    part("load_best_model_at_end", "`save.load_best`").or("false"),
    aside("metric_for_best_model", "which checkpoint is the result"),
    aside("greater_is_better", "which checkpoint is the result"),
    aside("resume_from_checkpoint", "where training begins"),
    aside("ignore_data_skip", "where training begins"),
    aside("restore_callback_states_from_checkpoint", "where training begins"),
    // the process
    refused("torch_compile", &["false"], "compiled models are not costed"),
    refused("torch_compile_backend", &[], "compiled models are not costed"),
    refused("torch_compile_mode", &[], "compiled models are not costed"),
    differs("torch_empty_cache_steps", &[], "the allocator's cache is emptied between steps"),
    refused("auto_find_batch_size", &["false"], "the batch is only known when the run has died with larger ones"),
    refused("use_cpu", &["false"], "the engine `trl` is costed on graphics cards"),
    differs("full_determinism", &["false"], "deterministic kernels have workspaces of their own"),
    part("tf32", "`train.tf32`").or("false"),
    part("use_cache", "`train.use_cache`").or("false"),
    aside("ignore_bias_buffers", "a switch for old models under DDP"),
    // what is said
    aside("logging_strategy", LOGS),
    aside("logging_steps", LOGS),
    aside("logging_first_step", LOGS),
    aside("logging_dir", LOGS),
    aside("logging_nan_inf_filter", LOGS),
    aside("log_on_each_node", LOGS),
    aside("log_level", LOGS),
    aside("log_level_replica", LOGS),
    aside("include_num_input_tokens_seen", LOGS),
    aside("disable_tqdm", LOGS),
    aside("report_to", LOGS),
    aside("run_name", LOGS),
    aside("project", LOGS),
    aside("trackio_space_id", LOGS),
    aside("trackio_bucket_id", LOGS),
    aside("trackio_static_space_id", LOGS),
    aside("skip_memory_metrics", LOGS),
    aside("debug", LOGS),
    aside("push_to_hub", HUB),
    aside("hub_token", HUB),
    aside("hub_private_repo", HUB),
    aside("hub_model_id", HUB),
    aside("hub_strategy", HUB),
    aside("hub_always_push", HUB),
    aside("hub_revision", HUB),
    // samples
    aside("dataloader_drop_last", LOADING),
    aside("dataloader_num_workers", LOADING),
    aside("dataloader_pin_memory", LOADING),
    aside("dataloader_persistent_workers", LOADING),
    aside("dataloader_prefetch_factor", LOADING),
    aside("dataloader_multiprocessing_context", LOADING),
    aside("dataloader_in_order", LOADING),
    aside("remove_unused_columns", LOADING),
    aside("label_names", LOADING),
    formed("train_sampling_strategy", "data.order", Form::Words(ORDERS)).or("random"),
    aside("length_column_name", "the order of samples"),
    aside("group_by_length", "the order of samples"),
    aside("accelerator_config", LOADING),
    // several cards
    part("fsdp", "`parallel fsdp2`"),
    refused("fsdp_config.version", &["2"], "FSDP 1 is not costed, FSDP 2 is"),
    refused("fsdp_config.fsdp_version", &["2"], "FSDP 1 is not costed, FSDP 2 is"),
    part("fsdp_config.reshard_after_forward", "`parallel.reshard`"),
    former("fsdp_config.fsdp_reshard_after_forward", "fsdp_config.reshard_after_forward"),
    part("fsdp_config.cpu_offload", "`parallel.offload`"),
    former("fsdp_config.offload_params", "fsdp_config.cpu_offload"),
    former("fsdp_config.fsdp_offload_params", "fsdp_config.cpu_offload"),
    former("fsdp_config.fsdp_cpu_offload", "fsdp_config.cpu_offload"),
    part("fsdp_config.activation_checkpointing", "`parallel.wrapped_checkpointing`"),
    former("fsdp_config.fsdp_activation_checkpointing", "fsdp_config.activation_checkpointing"),
    refused("fsdp_config.auto_wrap_policy", &["TRANSFORMER_BASED_WRAP"], "groups of other sizes than a block are not costed"),
    former("fsdp_config.fsdp_auto_wrap_policy", "fsdp_config.auto_wrap_policy"),
    aside("fsdp_config.transformer_layer_cls_to_wrap", "the name of the model's block"),
    aside("fsdp_config.fsdp_transformer_layer_cls_to_wrap", "the name of the model's block"),
    aside("fsdp_config.cpu_ram_efficient_loading", "host memory"),
    aside("fsdp_config.fsdp_cpu_ram_efficient_loading", "host memory"),
    aside("fsdp_config.state_dict_type", "how checkpoints are written"),
    aside("fsdp_config.fsdp_state_dict_type", "how checkpoints are written"),
    part("deepspeed", "`parallel zero1`, `zero2` or `zero3`"),
    refused("parallelism_config", &[], "context, sequence and expert parallelism are not costed"),
    differs("ddp_bucket_cap_mb", &["25"], "buckets of gradients of another size"),
    refused("ddp_static_graph", &["false"], "DDP's static graphs are not costed"),
    aside("ddp_find_unused_parameters", "a switch of DDP"),
    aside("ddp_broadcast_buffers", "a switch of DDP"),
    aside("ddp_backend", PROCESSES),
    aside("ddp_timeout", PROCESSES),
    aside("local_rank", PROCESSES),
];

/// Epochs or steps. `epochs_key`: what the trainer calls its epochs.
pub(super) fn read_steps(file: &mut Reading<'_>, epochs_key: &'static str) {
    let steps = file.number("max_steps").filter(|steps| *steps > 0.0);
    if let Some(steps) = steps {
        file.set_number("train.steps", steps, "max_steps");
    }
    if (steps.is_none() || file.written(epochs_key).is_some())
        && let Some(epochs) = file.number(epochs_key)
    {
        file.set_number("train.epochs", epochs, epochs_key);
    }
}

/// The same, and the optimizer's decays.
pub(super) fn read_length(file: &mut Reading<'_>, epochs_key: &'static str) {
    read_steps(file, epochs_key);
    let betas = ["adam_beta1", "adam_beta2"].map(|key| file.number(key));
    if let [Some(first), Some(second)] = betas {
        let items = [first, second].map(|beta| Item { value: Value::Quantity(Quantity::number(beta)), span: 0..0 });
        let key = if file.written("adam_beta1").is_some() { "adam_beta1" } else { "adam_beta2" };
        file.set("train.betas", Value::List(items.into()), key);
    }
}

pub(super) fn write_steps(plan: &mut Writing, epochs_key: &'static str) {
    let steps = plan.take("train.steps");
    if let Some(steps) = &steps {
        plan.put("max_steps", yaml(steps));
    }
    let epochs = plan.take("train.epochs");
    if let Some(epochs) = epochs.filter(|_| steps.is_none() || plan.says("train.epochs")) {
        plan.put(epochs_key, yaml(&epochs));
    }
}

pub(super) fn write_length(plan: &mut Writing, epochs_key: &'static str) {
    write_steps(plan, epochs_key);
    if let Some([first, second]) =
        plan.take("train.betas").as_ref().and_then(|betas| betas.as_array()).map(Vec::as_slice)
    {
        plan.put_unless_default("adam_beta1", yaml(first));
        plan.put_unless_default("adam_beta2", yaml(second));
    }
}

/// The learning rate.
pub(super) fn read_schedule(file: &mut Reading<'_>) {
    let schedule = match file.text("lr_scheduler_type").as_deref() {
        Some("linear") => "linear",
        Some("cosine") => "cosine",
        Some("constant") => {
            if file.written("warmup_steps").is_some() {
                file.aside("warmup_steps", "`lr_scheduler_type: constant` has no warmup");
            }
            file.set_number("train.warmup", 0.0, "lr_scheduler_type");
            file.set_word("train.schedule", "constant", "lr_scheduler_type");
            return;
        }
        Some("constant_with_warmup") => "constant",
        _ => {
            file.aside("lr_scheduler_type", "a plan's schedules are cosine, linear and constant");
            "cosine"
        }
    };
    file.set_word("train.schedule", schedule, "lr_scheduler_type");
    if let Some(part) = file.number("warmup_steps") {
        set_warmup(file, part, "warmup_steps");
    }
}

/// Steps, or below 1 a share of all of them.
pub(super) fn set_warmup(file: &mut Reading<'_>, part: f64, key: &str) {
    if part > 0.0 && part < 1.0 {
        let value = (part * 1e12).round() / 1e10;
        let percent = Quantity { value, dimension: Dimension::Percent };
        file.set("train.warmup", Value::Quantity(percent), key);
    } else {
        file.set_number("train.warmup", part, key);
    }
}

/// `key`: what the trainer calls its schedule; `share_key`: how a share of all steps is said.
pub(super) fn write_schedule(plan: &mut Writing, key: &'static str, share_key: &'static str) {
    let warmup = plan.take("train.warmup").unwrap_or_default();
    let rises = match &warmup {
        serde_json::Value::Number(steps) => steps.as_f64() > Some(0.0),
        percent => share(percent).is_some_and(|share| share > 0.0),
    };
    match plan.take_word("train.schedule").as_deref() {
        Some("constant") if !rises => return plan.put(key, "constant"),
        Some("constant") => plan.put(key, "constant_with_warmup"),
        Some(schedule) => plan.put(key, schedule),
        None => {}
    }
    match warmup {
        serde_json::Value::Number(_) => plan.put("warmup_steps", yaml(&warmup)),
        percent => match share(&percent) {
            Some(share) if share < 1.0 => plan.put(share_key, float(share)),
            _ => plan.lose("train.warmup", "a share of all steps is less than all of them"),
        },
    }
}

/// How often checkpoints are written.
pub(super) fn read_saves(file: &mut Reading<'_>) {
    match (file.text("save_strategy").as_deref(), file.number("save_steps")) {
        (Some("steps"), Some(steps)) if steps >= 1.0 => file.set_number("save.every", steps, "save_steps"),
        (Some("steps"), _) => file.aside("save_steps", "a plan counts steps between checkpoints"),
        _ => file.aside("save_strategy", "a plan counts steps between checkpoints"),
    }
}

pub(super) fn write_saves(plan: &mut Writing) {
    if let Some(every) = plan.take("save.every") {
        plan.put_unless_default("save_steps", yaml(&every));
    }
}

/// Switches that a plan has only where a file does, so that what all files leave alone is not in each of them.
pub(super) const SWITCHES: &[(&str, &str)] =
    &[("tf32", "train.tf32"), ("use_cache", "train.use_cache"), ("load_best_model_at_end", "save.load_best")];

pub(super) fn read_switches(file: &mut Reading<'_>, switches: &[(&'static str, &'static str)]) {
    for (key, path) in switches {
        if file.written(key).is_some() {
            let on = file.flag(key);
            file.set(path, Value::Bool(on), key);
        }
    }
}

pub(super) fn write_switches(plan: &mut Writing, switches: &[(&'static str, &'static str)]) {
    for (key, path) in switches {
        if let Some(on) = plan.take(path)
            && plan.says(path)
        {
            plan.put(key, yaml(&on));
        }
    }
}

/// How often it is evaluated. `logging_steps`: the trainer's default, as it evaluates as often as it logs unless it is told.
pub(super) fn read_evaluations(file: &mut Reading<'_>, logging_steps: f64) {
    if file.text("eval_strategy").as_deref() != Some("steps") {
        if file.written("eval_steps").is_some() {
            file.aside("eval_steps", "it counts with `eval_strategy: steps` only");
        }
        return;
    }
    match file.number("eval_steps") {
        Some(steps) if steps >= 1.0 => file.set_number("eval.every", steps, "eval_steps"),
        Some(_) => file.aside("eval_steps", "a plan counts steps between evaluations"),
        // `TrainingArguments.__post_init__`
        None => match file.number("logging_steps").unwrap_or(logging_steps) {
            steps if steps >= 1.0 => file.set_number("eval.every", steps, "logging_steps"),
            _ => file.aside("eval_strategy", "it evaluates as often as it logs"),
        },
    }
}

pub(super) fn write_evaluations(plan: &mut Writing) {
    let every = plan.take("eval.every");
    plan.put("eval_strategy", if every.is_some() { "steps" } else { "epoch" });
    if let Some(every) = every {
        plan.put("eval_steps", yaml(&every));
    }
}

/// FSDP is asked for, as a switch or in its former words.
pub(super) fn is_sharded(file: &Reading<'_>) -> bool {
    match file.written("fsdp") {
        None | Some(Yaml::Bool(false)) => false,
        Some(Yaml::String(words)) if words.trim().is_empty() => false,
        Some(Yaml::Sequence(words)) => !words.is_empty(),
        Some(_) => true,
    }
}
