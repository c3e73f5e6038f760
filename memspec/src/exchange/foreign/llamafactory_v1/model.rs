//! The model under LLaMA-Factory's version 1: its types, its packed weights, its kernels, what is computed again.

use super::super::hugging_face::{FLOATS, STORAGES, ours, theirs};
use super::super::peft::has_tower;
use super::super::read::Reading;
use super::super::write::Writing;
use crate::model::{Family, catalog};
use crate::plan::Value;

/// Kernels of attention (`AttentionFunction`, `utils/types.py:58`); the first for a word is the one that is written.
const ATTENTION: &[(&str, &str)] =
    &[("sdpa", "sdpa"), ("sdpa", "auto"), ("eager", "eager"), ("flash_attention_2", "flash2")];

pub(super) fn read_engine(file: &mut Reading<'_>) {
    file.set_word("engine", "trl", "model");
    file.set_word("train.script", "llamafactory_v1", "model");
    file.set_word("train.optimizer", "adamw_foreach", "model");
    // `torch.optim.AdamW`'s own, which no key changes.
    file.set_number("train.weight_decay", 0.01, "model");
    file.set_word("train.schedule", "constant", "model");
    file.set_number("train.warmup", 0.0, "model");
    let model = file.text("model").unwrap_or_default();
    if has_tower(&model) == Some(true) {
        let why = "how many images a sample has, and how large they are, is not in the file: `images` and `image_size` say so";
        file.assume("data.images", "0", why);
    }
}

pub(super) fn write_engine(plan: &mut Writing) {
    if plan.take_word("engine").as_deref() != Some("trl") {
        plan.lose("engine", "a file of LLaMA-Factory runs under LLaMA-Factory, whose allocations are others");
    }
    if plan.take_word("train.script").as_deref() != Some("llamafactory_v1") {
        plan.lose("train.script", "`USE_V1=1 llamafactory-cli sft` is LLaMA-Factory's own loop");
    }
    if plan.take_word("train.optimizer").as_deref() != Some("adamw_foreach") {
        plan.lose("train.optimizer", "version 1 has PyTorch's AdamW over lists, `adamw_foreach`");
    }
    if plan.take_word("train.schedule").as_deref() != Some("constant") {
        plan.lose("train.schedule", "the learning rate is constant: no schedule comes with version 1");
    }
    if plan.take("train.warmup").and_then(|warmup| warmup.as_f64()) != Some(0.0) {
        plan.lose("train.warmup", "the learning rate is constant: no schedule comes with version 1");
    }
    if plan.take("train.weight_decay").and_then(|decay| decay.as_f64()) != Some(0.01) {
        plan.lose("train.weight_decay", "it is that of `torch.optim.AdamW`, 0.01");
    }
}

pub(super) fn read_quantize(file: &mut Reading<'_>) {
    if !file.is_written("quant_config") {
        return;
    }
    let key = "quant_config.quantization_bit";
    let bits = match file.text("quant_config.name").as_deref() {
        Some("bnb") => file.number(key).unwrap_or(4.0),
        Some("auto") if file.written(key).is_none() => return,
        Some("auto") => file.number(key).unwrap_or_default(),
        _ => return file.refuse("quant_config.name", "it is auto or bnb"),
    };
    if !file.is_open("adapter") {
        return file.refuse(key, "packed weights are for adapters: `peft_config.name: lora`");
    }
    let kind = match (bits, file.text("quant_config.quantization_type").as_deref()) {
        (8.0, _) => "int8",
        (4.0, Some("nf4")) => "nf4",
        (4.0, Some("fp4")) => "fp4",
        (4.0, _) => return file.refuse("quant_config.quantization_type", "it is nf4 or fp4"),
        _ => return file.uncosted(key, "4 and 8 bits are costed"),
    };
    file.open("quantize", kind, key);
    let double = kind != "int8" && file.flag("quant_config.double_quantization");
    file.set("quantize.double", Value::Bool(double), "quant_config.double_quantization");
    if kind == "int8" {
        // LLM.int8 computes in half precision, and stores bytes.
        return file.set_word("quantize.compute", "fp16", key);
    }
    let key = "quant_config.compute_dtype";
    let named = file.text(key).unwrap_or_default();
    match ours(FLOATS, &named).zip(ours(STORAGES, &named)) {
        Some((compute, storage)) => {
            file.set_word("quantize.compute", compute, key);
            file.set_word("quantize.storage", storage, key);
        }
        None => file.refuse(key, "it is float16, bfloat16 or float32"),
    }
}

pub(super) fn write_quantize(plan: &mut Writing) {
    let Some(kind) = plan.take_word("quantize.kind") else { return };
    if plan.get("adapter.kind").is_none() {
        return plan.lose_block("quantize", "LLaMA-Factory packs weights for an adapter only");
    }
    if !matches!(kind.as_str(), "nf4" | "fp4" | "int8") {
        return plan.lose_block("quantize", "LLaMA-Factory packs weights to NF4, FP4 and int8");
    }
    plan.put("quant_config.name", "bnb");
    let double = plan.take("quantize.double") == Some(true.into());
    let storage = plan.take_word("quantize.storage").unwrap_or_default();
    let compute = plan.take_word("quantize.compute").unwrap_or_default();
    if kind == "int8" {
        plan.put("quant_config.quantization_bit", 8);
        plan.lose_of_int8(&storage, double);
        if compute != "fp16" {
            plan.lose("quantize.compute", "LLM.int8 computes in half precision");
        }
        return;
    }
    plan.put("quant_config.quantization_bit", 4);
    plan.put_unless_default("quant_config.quantization_type", kind);
    plan.put_unless_default("quant_config.double_quantization", double);
    let named = theirs(FLOATS, &compute).unwrap_or("float16");
    plan.put_unless_default("quant_config.compute_dtype", named);
    if ours(STORAGES, named) != Some(&storage) && plan.says("quantize.storage") {
        plan.lose("quantize.storage", "packed weights are stored in the type of compute");
    }
}

/// Weights are loaded in the checkpoint's type, and cast to float32 where all are trained (`core/model_engine.py:179`). What is computed in FSDP and DeepSpeed
/// decide; without them, the weights' type does.
pub(super) fn read_precision(file: &mut Reading<'_>) {
    let full = !file.is_open("adapter");
    let half = file.flag("bf16");
    let (precision, key) = match file.text("dist_config.name").as_deref() {
        Some("deepspeed") => ("bf16", "dist_config.name"),
        Some("fsdp2") if half => ("bf16", "bf16"),
        Some("fsdp2") => ("f32", "bf16"),
        _ if full => ("f32", "dist_config.name"),
        _ => ("bf16_pure", "dist_config.name"),
    };
    if file.written("bf16").is_some() && key != "bf16" {
        file.aside("bf16", "FSDP alone reads it");
    }
    file.set_word("train.precision", precision, key);
    if full {
        return file.set_word("train.base_dtype", "f32", "model");
    }
    file.assume("train.base_dtype", "bf16", "weights are loaded in the type that the checkpoint was saved in");
    file.set_word("train.base_dtype", "bf16", "model");
}

pub(super) fn write_precision(plan: &mut Writing) {
    let precision = plan.take_word("train.precision").unwrap_or_default();
    let full = plan.get("adapter.kind").is_none();
    let kept = match plan.get("parallel.kind").as_ref().and_then(|kind| kind.as_str()) {
        Some("fsdp2") => {
            plan.put_unless_default("bf16", precision != "f32");
            matches!(&*precision, "bf16" | "f32")
        }
        Some("zero2" | "zero3") => precision == "bf16",
        _ if full => precision == "f32",
        _ => precision == "bf16_pure",
    };
    if !kept {
        plan.lose(
            "train.precision",
            "without autocast it is the weights' own type, or what FSDP and DeepSpeed compute in",
        );
    }
    let base = plan.take_word("train.base_dtype").unwrap_or_default();
    if base != if full { "f32" } else { "bf16" } {
        plan.lose("train.base_dtype", "weights are of the checkpoint's type, or float32 where all are trained");
    }
}

pub(super) fn read_kernels(file: &mut Reading<'_>) {
    let attention = file.text("flash_attn").unwrap_or_default();
    let shared = file.number("dist_config.cp_size").is_some_and(|cards| cards > 1.0);
    match ours(ATTENTION, &attention) {
        // `core/base_trainer.py:149`
        Some("sdpa" | "eager" | "auto") if shared => {
            let how = "LLaMA-Factory ends where cards share samples without `flash_attention_2`: it is read as if it were asked for";
            file.differ("flash_attn", how);
            file.set_word("train.attention", "flash2", "flash_attn");
        }
        Some(word) => file.set_word("train.attention", word, "flash_attn"),
        // `examples/v1` writes it so, and `config/model_args.py:60` ends the run.
        None if attention == "flash_attention2" => {
            file.differ("flash_attn", "LLaMA-Factory ends with this value: it is read as `flash_attention_2`");
            file.set_word("train.attention", "flash2", "flash_attn");
        }
        None => file.refuse("flash_attn", "it is eager, sdpa or flash_attention_2"),
    }
    file.set_word("train.loss", "whole", "model");
    let key = "kernel_config.name";
    // Without `include_kernels` neither does anything (`plugins/model_plugins/kernels/interface.py:127`).
    let which = file.text("kernel_config.include_kernels").filter(|which| which != "false");
    let model = file.text("model").unwrap_or_default();
    let liger = match (file.text(key).as_deref(), which) {
        (Some("liger_kernel"), Some(which)) if has_liger(&model) => {
            if which != "auto" && which != "true" {
                file.differ("kernel_config.include_kernels", "some of Liger's kernels: all of them are costed");
            }
            true
        }
        (Some("liger_kernel"), Some(_)) => {
            file.aside(key, "version 1 has Liger's kernels for Qwen3 alone");
            false
        }
        (Some("auto"), Some(_)) if has_experts(&model) => {
            file.differ(
                key,
                "a kernel of its own computes the experts' products, which are costed as transformers' are",
            );
            false
        }
        (Some("liger_kernel" | "auto"), _) => false,
        _ => {
            file.refuse(key, "it is auto or liger_kernel");
            false
        }
    };
    file.set("train.liger", Value::Bool(liger), key);
}

/// `plugins/model_plugins/kernels/liger_kernel_ops.py:34`; a model that the catalog does not have may be one.
fn has_liger(model: &str) -> bool {
    catalog::get(model).is_none_or(|model| matches!(model.family, Family::Qwen3 | Family::Qwen3Moe))
}

fn has_experts(model: &str) -> bool {
    catalog::get(model).is_some_and(|model| model.experts.is_some())
}

pub(super) fn write_kernels(plan: &mut Writing) {
    let shared = plan.get("parallel.context").and_then(|cards| cards.as_u64()).is_some_and(|cards| cards > 1)
        && plan.get("parallel.kind").is_some_and(|kind| ["fsdp2", "zero2", "zero3"].iter().any(|known| kind == *known));
    if shared && plan.get("train.attention").is_some_and(|word| word != "flash2") {
        plan.put("flash_attn", "flash_attention_2");
        plan.lose("train.attention", "cards share samples by `flash_attention_2` alone");
    }
    match plan.take_word("train.attention").filter(|_| !shared).map(|word| theirs(ATTENTION, &word)) {
        Some(Some(word)) => plan.put_unless_default("flash_attn", word),
        None if shared => plan.put("flash_attn", "flash_attention_2"),
        _ => plan.lose("train.attention", "LLaMA-Factory's version 1 has eager, sdpa and flash_attention_2"),
    }
    if plan.take("train.liger") == Some(true.into()) {
        if plan.get("model").is_some_and(|model| !has_liger(model.as_str().unwrap_or_default())) {
            plan.lose("train.liger", "version 1 has Liger's kernels for Qwen3 alone");
        } else {
            plan.put("kernel_config.name", "liger_kernel");
            plan.put("kernel_config.include_kernels", "auto");
        }
    }
    match plan.take_word("train.loss").as_deref() {
        Some("whole") => {}
        Some("auto") if !plan.says("train.loss") => {}
        Some("auto") if plan.get("train.script").is_some_and(|script| script == "llamafactory_v1") => {
            plan.rename("train.loss", "its own is `whole`");
        }
        _ => plan.lose("train.loss", "the loss has all logits at once, `whole`"),
    }
    if plan.take_word("train.upcast").is_some_and(|word| word != "none") {
        plan.lose("train.upcast", "no norm is cast");
    }
}

pub(super) fn read_checkpoints(file: &mut Reading<'_>) {
    let key = "enable_activation_checkpointing";
    let on = file.flag(key);
    file.set_word("train.checkpointing", if on { "block" } else { "none" }, key);
}

pub(super) fn write_checkpoints(plan: &mut Writing) {
    let checkpoints = plan.take("train.checkpointing").unwrap_or_default();
    plan.put_unless_default("enable_activation_checkpointing", checkpoints != "none");
    if checkpoints != "none" && checkpoints != "block" {
        plan.lose("train.checkpointing", "LLaMA-Factory recomputes every block or none");
    }
}
