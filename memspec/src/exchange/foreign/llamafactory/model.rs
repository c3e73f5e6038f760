//! The model under LLaMA-Factory: its types, its packed weights, its kernels, what is computed again.

use super::super::hugging_face::{STORAGES, ours, theirs};
use super::super::peft::has_tower;
use super::super::read::Reading;
use super::super::write::Writing;
use super::adapter::{Method, method};
use crate::model::{Family, catalog};
use crate::plan::Value;

pub(super) fn read_engine(file: &mut Reading<'_>) {
    file.set_word("engine", "trl", "model_name_or_path");
    file.set_word("train.script", "llamafactory", "model_name_or_path");
    if !file.flag("do_train") {
        file.refuse("do_train", "without `do_train: true` nothing is trained");
    }
    let model = file.text("model_name_or_path").unwrap_or_default();
    let name = model.to_ascii_lowercase();
    if ["gptq", "awq", "aqlm"].into_iter().any(|packed| name.contains(packed)) {
        let how = "its name says that the checkpoint is packed: without its `config.json` here it is costed as if it were not";
        file.differ("model_name_or_path", how);
    }
    let limited = file.written("image_max_pixels").is_some();
    if limited || has_tower(&model) == Some(true) {
        let why = "how many images a sample has, and how large they are, is not in the file: `images` and `image_size` say so";
        file.assume("data.images", "0", why);
    }
    if limited {
        file.differ(
            "image_max_pixels",
            "it limits how large images are: `data.image_size` says how large they are costed",
        );
    }
    let plain = file.text("optim").is_some_and(|optimizer| matches!(&*optimizer, "adamw_torch" | "adamw_torch_fused"));
    if let Some(key) = ["use_muon", "use_adam_mini"].into_iter().find(|key| file.flag(key) && !plain) {
        file.uncosted("optim", format!("`{key}` has states of its own, which are costed as AdamW's at most"));
    }
}

pub(super) fn write_engine(plan: &mut Writing) {
    plan.put("stage", "sft");
    plan.put("do_train", true);
    if plan.take_word("engine").as_deref() != Some("trl") {
        plan.lose("engine", "a file of LLaMA-Factory runs under LLaMA-Factory, whose allocations are others");
    }
    if plan.take_word("train.script").as_deref() != Some("llamafactory") {
        plan.lose("train.script", "`llamafactory-cli train` is LLaMA-Factory's own trainer");
    }
}

/// The type that weights are computed in (`hparams/parser.py`): bf16 unless fp16 is asked for.
fn compute(file: &mut Reading<'_>) -> &'static str {
    let half = file.flag("fp16") && !file.flag("bf16") && !file.flag("pure_bf16");
    if half { "fp16" } else { "bf16" }
}

pub(super) fn read_quantize(file: &mut Reading<'_>) {
    if file.written("quantization_bit").is_none() {
        for key in ["quantization_method", "quantization_type", "double_quantization"] {
            if file.written(key).is_some() {
                file.aside(key, "without `quantization_bit` no weights are packed");
            }
        }
        return;
    }
    if !file.is_open("adapter") {
        return file.refuse("quantization_bit", "packed weights are for adapters: `finetuning_type: lora`");
    }
    let bits = file.number("quantization_bit");
    match file.text("quantization_method").as_deref() {
        Some("bnb") => {}
        Some("hqq") if bits == Some(4.0) || bits == Some(8.0) => {
            file.differ("quantization_method", "HQQ's packing is costed as bitsandbytes' of as many bits");
        }
        Some("eetq") if bits == Some(8.0) => {
            file.differ("quantization_method", "EETQ's packing is costed as bitsandbytes' of as many bits");
        }
        _ => {
            return file
                .uncosted("quantization_method", "bitsandbytes is costed (bnb), and hqq and eetq of 4 and 8 bits");
        }
    }
    match bits {
        Some(4.0) => {
            let kind = match file.text("quantization_type").as_deref() {
                Some("nf4") => "nf4",
                Some("fp4") => "fp4",
                _ => {
                    file.refuse("quantization_type", "it is nf4 or fp4");
                    "nf4"
                }
            };
            file.open("quantize", kind, "quantization_bit");
            let double = file.flag("double_quantization");
            file.set("quantize.double", Value::Bool(double), "double_quantization");
            // `model/model_utils/quantization.py:178`: the type of compute
            let storage = ours(STORAGES, "bfloat16").unwrap_or("bf16");
            file.set_word("quantize.storage", storage, "quantization_bit");
        }
        Some(8.0) => {
            file.open("quantize", "int8", "quantization_bit");
            file.set("quantize.double", Value::Bool(false), "quantization_bit");
        }
        _ => return file.uncosted("quantization_bit", "4 and 8 bits are costed"),
    }
    let compute = compute(file);
    let key = if compute == "fp16" { "fp16" } else { "bf16" };
    file.set_word("quantize.compute", compute, key);
}

pub(super) fn write_quantize(plan: &mut Writing) {
    let Some(kind) = plan.take_word("quantize.kind") else { return };
    if plan.get("adapter.kind").is_none() {
        return plan.lose_block("quantize", "LLaMA-Factory packs weights for an adapter only");
    }
    if !matches!(kind.as_str(), "nf4" | "fp4" | "int8") {
        return plan.lose_block("quantize", "LLaMA-Factory packs weights to NF4, FP4 and int8");
    }
    let double = plan.take("quantize.double") == Some(true.into());
    let storage = plan.take_word("quantize.storage").unwrap_or_default();
    if kind == "int8" {
        plan.put("quantization_bit", 8);
        plan.lose_of_int8(&storage, double);
    } else {
        plan.put("quantization_bit", 4);
        plan.put_unless_default("quantization_type", kind);
        plan.put_unless_default("double_quantization", double);
        if theirs(STORAGES, &storage) != Some("bfloat16") && plan.says("quantize.storage") {
            plan.lose("quantize.storage", "packed weights are stored in the type of compute");
        }
    }
    let compute = if plan.get("train.precision").is_some_and(|word| word == "fp16" || word == "fp16_pure") {
        "fp16"
    } else {
        "bf16"
    };
    if plan.take_word("quantize.compute").as_deref() != Some(compute) {
        plan.lose("quantize.compute", "LLaMA-Factory unpacks to bf16, or to fp16 with `fp16: true`");
    }
}

/// Autocast's type by the trainer's flags. Weights are loaded in the checkpoint's type (`model/loader.py:155`); what is trained is cast to float32
/// unless something forbids it (`model/adapter.py:313`).
pub(super) fn read_precision(file: &mut Reading<'_>) {
    let (bf16, fp16, pure) = (file.flag("bf16"), file.flag("fp16"), file.flag("pure_bf16"));
    if bf16 && fp16 {
        file.refuse("fp16", "one of `bf16` and `fp16`");
    }
    let adapter = matches!(method(file), Some(Method::Lora | Method::Oft));
    let cast = !adapter && !pure && !file.flag("use_badam");
    let (precision, key) = match (bf16, fp16) {
        (true, _) => ("bf16", "bf16"),
        (false, true) => ("fp16", "fp16"),
        // Without autocast it computes in the type of the weights.
        (false, false) if cast => ("f32", "bf16"),
        (false, false) => ("bf16_pure", "pure_bf16"),
    };
    file.set_word("train.precision", precision, key);
    if cast {
        return file.set_word("train.base_dtype", "f32", "finetuning_type");
    }
    file.assume("train.base_dtype", "bf16", "weights are loaded in the type that the checkpoint was saved in");
    file.set_word("train.base_dtype", "bf16", "model_name_or_path");
}

pub(super) fn write_precision(plan: &mut Writing) {
    let precision = plan.take_word("train.precision").unwrap_or_default();
    let base = plan.take_word("train.base_dtype").unwrap_or_default();
    let full = plan.get("adapter.kind").is_none();
    match precision.as_str() {
        "bf16" => plan.put("bf16", true),
        "fp16" => plan.put("fp16", true),
        "bf16_pure" => plan.put("pure_bf16", true),
        "fp16_pure" => {
            plan.put("fp16", true);
            plan.lose("train.precision", "LLaMA-Factory computes in fp16 under autocast");
        }
        _ if full => {}
        _ => {
            plan.put("bf16", true);
            plan.lose("train.precision", "LLaMA-Factory loads weights in the type of the checkpoint");
        }
    }
    // Without its cast to float32, which is for weights that are all trained, they stay as they are loaded.
    let uncast = full && base == "bf16" && matches!(precision.as_str(), "bf16" | "fp16" | "fp16_pure");
    if uncast {
        plan.put("pure_bf16", true);
    }
    let kept = if full && !uncast && precision != "bf16_pure" { "f32" } else { "bf16" };
    if base != kept {
        plan.lose("train.base_dtype", "weights are of the checkpoint's type, or float32 where all are trained");
    }
}

pub(super) fn read_kernels(file: &mut Reading<'_>) {
    let on = ["enable_liger_kernel", "use_liger_kernel"].into_iter().find(|key| file.flag(key));
    // `model/model_utils/liger_kernel.py:97`: with Liger's own defaults, its fused loss among them.
    let (loss, key) = match on {
        Some(key) if file.flag("use_asft_loss") => {
            file.refuse(
                key,
                "Liger's loss makes no logits, and without them `use_asft_loss` only takes the second model's memory",
            );
            ("asft", "use_asft_loss")
        }
        None if file.flag("use_asft_loss") => ("asft", "use_asft_loss"),
        Some(key) => ("liger", key),
        None => ("whole", "enable_liger_kernel"),
    };
    file.set_word("train.loss", loss, key);
    file.set("train.liger", Value::Bool(on.is_some()), on.unwrap_or("enable_liger_kernel"));
    match family(file) {
        // `model/model_utils/attention.py:33`
        Some(Family::GptOss) => {
            let how = "GPT-OSS' attention is FlashAttention 3's, whatever is asked for: it is costed with its scores as a tensor";
            file.differ("flash_attn", how);
        }
        // `model/model_utils/attention.py:45`
        Some(Family::Gemma2) if file.text("flash_attn").is_some_and(|attention| attention == "auto") => {
            let how =
                "Gemma 2's attention is FlashAttention 2's where that is installed, else eager: PyTorch's is costed";
            file.differ("flash_attn", how);
        }
        _ => {}
    }
    if file.flag("upcast_layernorm") {
        file.set_word("train.upcast", "norms", "upcast_layernorm");
    }
}

/// The model's, where the catalog has it.
fn family(file: &mut Reading<'_>) -> Option<Family> {
    let model = file.text("model_name_or_path")?;
    Some(catalog::get(&model)?.family)
}

pub(super) fn write_kernels(plan: &mut Writing) {
    let liger = plan.take("train.liger") == Some(true.into());
    plan.put_unless_default("enable_liger_kernel", liger);
    match (liger, plan.take_word("train.loss").as_deref()) {
        (true, Some("liger")) | (false, Some("whole")) => {}
        (false, Some("asft")) => plan.put("use_asft_loss", true),
        (_, Some("auto")) if !plan.says("train.loss") => {}
        (false, Some("auto")) if plan.get("train.script").is_some_and(|script| script == "llamafactory") => {
            plan.rename("train.loss", "transformers' own is `whole`");
        }
        (true, _) => plan.lose("train.loss", "with Liger's kernels the loss is Liger's, too"),
        (false, _) => plan.lose("train.loss", "without Liger's kernels the loss is transformers' own, `whole`"),
    }
    match plan.take_word("train.upcast").as_deref() {
        Some("norms") => plan.put("upcast_layernorm", true),
        Some("none") | None => {}
        Some(_) => plan.lose("train.upcast", "LLaMA-Factory casts norms to float32, or none"),
    }
}

/// Blocks that are computed again: all of them, unless that is disabled (`model/model_utils/checkpointing.py:164`).
pub(super) fn read_checkpoints(file: &mut Reading<'_>) {
    let disabled = file.flag("disable_gradient_checkpointing") && !file.flag("gradient_checkpointing");
    // FSDP's own takes the model's place, and is read with the rest of `parallel`.
    let wrapped = file.flag("fsdp_config.activation_checkpointing") && file.is_open("parallel");
    let key =
        if disabled && wrapped { "fsdp_config.activation_checkpointing" } else { "disable_gradient_checkpointing" };
    file.set_word("train.checkpointing", if disabled && !wrapped { "none" } else { "block" }, key);
    let offloaded = file.flag("use_unsloth_gc");
    if offloaded && disabled {
        return file.aside("use_unsloth_gc", "without gradient checkpointing it has no effect");
    }
    if offloaded {
        file.differ("use_unsloth_gc", "Unsloth's checkpoints are costed as TRL's, which send as much to host memory");
    }
    file.set("train.activation_offload", Value::Bool(offloaded), "use_unsloth_gc");
}

pub(super) fn write_checkpoints(plan: &mut Writing) {
    let fsdp = plan.get("parallel.kind").is_some_and(|kind| kind == "fsdp2");
    let wrapped = fsdp && plan.get("parallel.wrapped_checkpointing") == Some(true.into());
    let checkpoints = plan.take("train.checkpointing").unwrap_or_default();
    let none = checkpoints == "none";
    plan.put_unless_default("disable_gradient_checkpointing", none || wrapped);
    if !none && checkpoints != "block" {
        plan.lose("train.checkpointing", "LLaMA-Factory recomputes every block or none");
    }
    if plan.take("train.activation_offload") == Some(true.into()) {
        if none || wrapped {
            return plan.lose("train.activation_offload", "it comes with LLaMA-Factory's own gradient checkpointing");
        }
        plan.put("use_unsloth_gc", true);
    }
}
