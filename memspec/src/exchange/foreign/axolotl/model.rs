//! Keys of axolotl that mean something together: the step, its precision and kernels, the schedule, checkpoints.

use serde_yaml::Value as Yaml;

use super::super::hugging_face::{ours, theirs};
use super::super::peft;
use super::super::read::{Reading, scalar};
use super::super::training_arguments;
use super::super::write::{Writing, yaml};
use super::parallel;
use crate::plan::Value;

const CUT_CROSS_ENTROPY: &str = "axolotl.integrations.cut_cross_entropy.CutCrossEntropyPlugin";
const LIGER: &str = "axolotl.integrations.liger.LigerPlugin";

/// Plugins that are known by their own keys, or do nothing to memory.
const PLUGINS: &[&str] = &["cut_cross_entropy", "liger", "kernels", "spectrum", "lm_eval", "swanlab"];

/// Liger's kernels that a plan switches together.
const LIGER_KERNELS: [&str; 3] = ["liger_rope", "liger_rms_norm", "liger_glu_activation"];

/// Kernels of attention; the first for a word is the one that is written.
const ATTENTION: &[(&str, &str)] = &[
    ("sdpa", "sdpa"),
    ("eager", "eager"),
    ("xformers", "efficient"),
    ("flash_attention_2", "flash2"),
    ("flash_attention_3", "flash3"),
    ("flash_attention_torch", "flash2"),
    ("flash_attention_4", "flash3"),
    ("flex_attention", "flash2"),
    ("kernels-community/flash-attn2", "flash2"),
    ("kernels-community/flash-attn3", "flash3"),
    ("kernels-community/vllm-flash-attn3", "flash3"),
];

/// Switches of former versions (`LEGACY_ATTN_FLAG_TO_IMPL`).
const FORMER_ATTENTION: [(&str, &str); 6] = [
    ("xformers_attention", "xformers"),
    ("sage_attention", "sage"),
    ("flex_attention", "flex_attention"),
    ("flash_attention", "flash_attention_2"),
    ("sdp_attention", "sdpa"),
    ("eager_attention", "eager"),
];

pub(super) fn read_engine(file: &mut Reading<'_>) {
    file.set_word("engine", "trl", "base_model");
    file.set_word("train.script", "axolotl", "base_model");
    // `axolotl/utils/__init__.py:82`, `set_pytorch_cuda_alloc_conf`
    file.set("train.expandable_segments", Value::Bool(true), "base_model");
    let accumulate = match file.written("gradient_accumulation_steps") {
        Some(_) => file.number("gradient_accumulation_steps").map(|steps| (steps, "gradient_accumulation_steps")),
        None => match (file.number("batch_size"), file.number("micro_batch_size")) {
            (Some(all), Some(micro)) => Some(((all / micro).floor(), "batch_size")),
            _ => Some((1.0, "gradient_accumulation_steps")),
        },
    };
    if let Some((steps, key)) = accumulate {
        file.set_number("train.accumulate", steps, key);
    }
    match file.text("optimizer").as_deref() {
        Some("adamw_torch_4bit") => file.differ("optimizer", "its states are half as large as those that are costed"),
        Some("adamw_torch_8bit") => file.differ("optimizer", "torchao's states are costed as bitsandbytes'"),
        _ => {}
    }
    let published = file.text("model_quantization_config");
    if let Some(kind) = published
        && !(kind == "Mxfp4Config" && file.flag("model_quantization_config_kwargs.dequantize"))
    {
        file.refuse(
            "model_quantization_config",
            "of published checkpoints MXFP4 is costed, unpacked when it is loaded",
        );
    }
    if file.written("processor_type").is_some() {
        let why = "how many images a sample has, and how large they are, is not in the file: `images` and `image_size` say so";
        file.assume("data.images", "0", why);
    }
    if file.is_written("qat") {
        if file.flag("gradient_checkpointing") || file.flag("fsdp_config.activation_checkpointing") {
            file.differ(
                "qat.weight_dtype",
                "rounded copies of a block's weights and inputs are kept while it is computed",
            );
        } else {
            file.refuse(
                "qat.weight_dtype",
                "rounded copies of all weights are kept for the backward pass, which is not costed",
            );
        }
    }
}

pub(super) fn write_engine(plan: &mut Writing) {
    if plan.take_word("engine").as_deref() != Some("trl") {
        plan.lose("engine", "a file of axolotl runs under axolotl, whose allocations are others");
    }
    if plan.take_word("train.script").as_deref() != Some("axolotl") {
        plan.lose("train.script", "`axolotl train` is axolotl's own trainer");
    }
    if plan.take("train.expandable_segments") != Some(true.into()) {
        plan.lose("train.expandable_segments", "axolotl lets segments grow");
    }
    if let Some(steps) = plan.take("train.accumulate") {
        plan.put("gradient_accumulation_steps", yaml(&steps));
    }
}

/// Autocast's type and that of the weights, which are one (`axolotl/utils/config/__init__.py:124`, `resolve_dtype`). Where the card decides, the
/// plan says nothing.
pub(super) fn read_precision(file: &mut Reading<'_>) {
    let Some(dtype) = half(file) else { return };
    let fp16 = file.flag("fp16");
    let full = file.text("bf16").as_deref() == Some("full");
    let (precision, key) = match dtype {
        "bf16" if full && !file.flag("bfloat16") => ("bf16_pure", "bf16"),
        "bf16" => ("bf16", "bf16"),
        "fp16" if fp16 => ("fp16", "fp16"),
        "fp16" => ("fp16_pure", "float16"),
        _ => ("f32", "bf16"),
    };
    file.set_word("train.precision", precision, key);
    file.set_word("train.base_dtype", dtype, key);
    if file.is_open("quantize") {
        file.set_word("quantize.compute", dtype, key);
    }
}

/// The type of the weights; `None`: bf16, where the card has it.
pub(super) fn half(file: &mut Reading<'_>) -> Option<&'static str> {
    let fp16 = file.flag("fp16");
    match file.text("bf16").as_deref() {
        Some("auto") if !fp16 => return None,
        Some("true" | "True" | "full") => return Some("bf16"),
        Some("auto" | "false" | "False") => {}
        _ => file.refuse("bf16", "it is true, false, auto or full"),
    }
    if file.flag("bfloat16") {
        Some("bf16")
    } else if file.flag("load_in_8bit") || fp16 || file.flag("float16") {
        Some("fp16")
    } else {
        Some("f32")
    }
}

pub(super) fn write_precision(plan: &mut Writing) {
    // What the plan leaves to the card the file does, too.
    let said = ["train.precision", "train.base_dtype", "quantize.compute"].iter().any(|path| plan.says(path));
    let precision = plan.take_word("train.precision").unwrap_or_default();
    match precision.as_str() {
        "bf16" if !said => {}
        "bf16" => plan.put("bf16", true),
        "bf16_pure" => plan.put("bf16", "full"),
        "fp16" => plan.put("fp16", true),
        "fp16_pure" => {
            plan.put("bf16", false);
            plan.put("float16", true);
        }
        _ => plan.put("bf16", false),
    }
    let dtype = written_half(plan);
    if precision == "f32" && packs_int8(plan) {
        plan.lose("train.precision", "under LLM.int8 axolotl computes in float16 then");
    }
    if plan.take_word("train.base_dtype").as_deref() != dtype {
        plan.lose("train.base_dtype", "axolotl loads weights in the type of compute");
    }
    if plan.is_open("quantize.compute") && plan.take_word("quantize.compute").as_deref() != dtype {
        plan.lose("quantize.compute", "axolotl unpacks to the type of the other weights");
    }
}

/// The type that axolotl loads a plan's weights in.
pub(super) fn written_half(plan: &Writing) -> Option<&'static str> {
    match plan.get("train.precision")?.as_str()? {
        "bf16" | "bf16_pure" => Some("bf16"),
        "fp16" | "fp16_pure" => Some("fp16"),
        // LLM.int8 computes in float16 (`resolve_dtype`).
        _ if packs_int8(plan) => Some("fp16"),
        _ => Some("f32"),
    }
}

fn packs_int8(plan: &Writing) -> bool {
    plan.get("adapter.kind").is_some() && plan.get("quantize.kind").is_some_and(|kind| kind == "int8")
}

/// Attention, the loss and Liger.
pub(super) fn read_kernels(file: &mut Reading<'_>) {
    let former = FORMER_ATTENTION.into_iter().find(|(key, _)| file.flag(key));
    let (key, attention) = match former {
        Some((key, attention)) if file.written("attn_implementation").is_none() => (key, attention.to_owned()),
        _ => ("attn_implementation", file.text("attn_implementation").unwrap_or_default()),
    };
    match ours(ATTENTION, &attention) {
        Some(word) => file.set_word("train.attention", word, key),
        None => file.refuse(key, format!("what `{attention}` takes is not known here")),
    }
    if matches!(attention.as_str(), "flex_attention" | "flash_attention_4") {
        file.differ(key, "it is costed as FlashAttention, which keeps as much");
    }

    let plugins = peft::names(file.written("plugins"));
    let unknown = |plugin: &&String| {
        let name = plugin.strip_prefix("axolotl.integrations.").and_then(|rest| rest.split('.').next());
        !name.is_some_and(|name| PLUGINS.contains(&name))
    };
    if let Some(unknown) = plugins.iter().find(unknown) {
        file.refuse("plugins", format!("what `{unknown}` does is not known here"));
    }
    let has = |plugin: &str| {
        // The class may be left out.
        let short = plugin.rsplit_once('.').map_or(plugin, |(module, _)| module);
        plugins.iter().any(|name| name.starts_with(short))
    };
    let cut = has(CUT_CROSS_ENTROPY) && file.flag("cut_cross_entropy");
    let fused = has(LIGER) && file.flag("liger_fused_linear_cross_entropy");
    let (loss, key) = match (cut, fused) {
        (true, _) => ("chunked", "plugins"),
        (false, true) => ("liger", "liger_fused_linear_cross_entropy"),
        (false, false) => ("whole", "liger_fused_linear_cross_entropy"),
    };
    file.set_word("train.loss", loss, key);
    let on = LIGER_KERNELS.map(|key| has(LIGER) && file.flag(key));
    let first = LIGER_KERNELS.into_iter().zip(on).find(|(_, on)| *on);
    if let Some((key, _)) = first {
        file.set("train.liger", Value::Bool(true), key);
        if on.contains(&false) {
            file.differ(key, "some of Liger's kernels are on: all are costed");
        }
    }
}

pub(super) fn write_kernels(plan: &mut Writing) {
    match plan.take_word("train.attention").and_then(|word| theirs(ATTENTION, &word)) {
        Some(theirs) => plan.put_unless_default("attn_implementation", theirs),
        None if plan.says("train.attention") => plan.lose("train.attention", "axolotl has no word for it"),
        None => {}
    }
    let mut plugins: Vec<Yaml> = Vec::new();
    match plan.take_word("train.loss").as_deref() {
        Some("chunked") => plugins.push(CUT_CROSS_ENTROPY.into()),
        Some("liger") => plan.put("liger_fused_linear_cross_entropy", true),
        Some("asft") => plan.lose("train.loss", "axolotl compares with no frozen copy of the model"),
        Some("auto") if plan.says("train.loss") => plan.lose("train.loss", "transformers' own is `whole`"),
        _ => {}
    }
    let liger = plan.take("train.liger") == Some(true.into());
    if liger {
        LIGER_KERNELS.iter().for_each(|key| plan.put(key, true));
    }
    if liger || plan.get("train.loss").is_some_and(|loss| loss == "liger") {
        plugins.push(LIGER.into());
    }
    if !plugins.is_empty() {
        plan.put("plugins", Yaml::Sequence(plugins));
    }
}

/// Whether embeddings, head and norms end in float32 (`loaders/model.py:174`, `should_convert_embedding_dtypes`, and `:602`).
fn upcasts(adapter: Option<&str>, sharded: bool, plain_attention: bool, cut: bool, skipped: bool) -> bool {
    let packed_shards = adapter == Some("qlora") && sharded;
    let converted = ((adapter.is_some() || sharded || !plain_attention) && !packed_shards) || cut;
    !converted && !skipped
}

pub(super) fn read_upcast(file: &mut Reading<'_>) {
    let adapter = file.text("adapter").filter(|adapter| !adapter.is_empty());
    let sharded = parallel::is_sharded(file);
    // DeepSpeed casts all to the type of compute.
    let skipped = file.flag("load_in_4bit") && file.flag("embeddings_skip_upcast") || file.is_written("deepspeed");
    let plain = file.word("train.attention").is_none_or(|word| word == "sdpa" || word == "eager");
    let cut = file.word("train.loss").is_some_and(|word| word == "chunked");
    if upcasts(adapter.as_deref(), sharded, plain, cut, skipped) {
        file.set_word("train.upcast", "embeddings", "base_model");
    }
}

pub(super) fn write_upcast(plan: &mut Writing) {
    let word = |path: &str| plan.get(path).and_then(|word| word.as_str().map(str::to_owned));
    let packed = word("quantize.kind").is_some_and(|kind| kind == "nf4" || kind == "fp4");
    let adapter = word("adapter.kind").map(|_| if packed { "qlora" } else { "lora" });
    let sharded = word("parallel.kind").is_some_and(|kind| kind == "fsdp2");
    let plain = word("train.attention").is_none_or(|word| ["auto", "sdpa", "eager"].contains(&word.as_str()));
    let cut = word("train.loss").is_some_and(|word| word == "chunked");
    let zero = word("parallel.kind").is_some_and(|kind| kind.starts_with("zero"));
    let expected = if upcasts(adapter, sharded, plain, cut, zero) { "embeddings" } else { "none" };
    let wished = plan.take_word("train.upcast").unwrap_or_default();
    if wished == "none" && expected == "embeddings" && adapter == Some("qlora") {
        plan.put("embeddings_skip_upcast", true);
    } else if wished != expected {
        plan.lose(
            "train.upcast",
            "axolotl casts embeddings, head and norms where FlashAttention, adapters or FSDP do not forbid it",
        );
    }
}

pub(super) fn read_schedule(file: &mut Reading<'_>) {
    let schedule = match file.text("lr_scheduler").as_deref() {
        Some("linear") => "linear",
        Some("constant" | "constant_with_warmup") => "constant",
        Some("cosine") => "cosine",
        _ => {
            file.aside("lr_scheduler", "a plan's schedules are cosine, linear and constant");
            "cosine"
        }
    };
    file.set_word("train.schedule", schedule, "lr_scheduler");
    let written = file.written("warmup_steps").and_then(|_| file.number("warmup_steps"));
    let (part, key) = match written {
        Some(steps) => (Some(steps), "warmup_steps"),
        None => (file.number("warmup_ratio"), "warmup_ratio"),
    };
    match part {
        _ if file.text("lr_scheduler").as_deref() == Some("constant") => file.set_number("train.warmup", 0.0, key),
        Some(part) => training_arguments::set_warmup(file, part, key),
        None => {}
    }
}

/// Of several processes each gets its own card, whatever the file says (`utils/config/__init__.py:254`).
pub(super) fn read_device_map(file: &mut Reading<'_>) {
    let Some(map) = file.written("device_map") else { return };
    match scalar(&map).as_str() {
        _ if file.is_open("parallel") => file.aside("device_map", "each process gets its own card"),
        "auto" | "balanced" | "balanced_low_0" | "sequential" => {
            file.set_word("train.device_map", "auto", "device_map")
        }
        "cuda" => file.set_word("train.device_map", "own", "device_map"),
        _ => file.aside("device_map", "a map of one's own"),
    }
}

pub(super) fn write_device_map(plan: &mut Writing) {
    let Some(map) = plan.take_word("train.device_map").filter(|_| plan.says("train.device_map")) else { return };
    match map.as_str() {
        "none" => {}
        _ if plan.get("parallel.kind").is_some() => {
            plan.lose("train.device_map", "axolotl gives each process its own card")
        }
        "auto" => plan.put("device_map", "auto"),
        _ => plan.put("device_map", "cuda"),
    }
}

/// Switches that take no memory.
const SWITCHES: &[(&str, &str)] = &[("tf32", "train.tf32"), ("load_best_model_at_end", "save.load_best")];

pub(super) fn read_switches(file: &mut Reading<'_>) {
    // `utils/schemas/config.py:1964`
    if file.text("tf32").is_some_and(|word| word == "auto") {
        file.aside("tf32", "it is on where the card can do it");
        return training_arguments::read_switches(file, &SWITCHES[1..]);
    }
    training_arguments::read_switches(file, SWITCHES);
}

pub(super) fn write_switches(plan: &mut Writing) {
    training_arguments::write_switches(plan, SWITCHES);
}

/// Blocks that are computed again, and what is written to disk.
pub(super) fn read_checkpoints(file: &mut Reading<'_>) {
    let word = file.text("gradient_checkpointing").unwrap_or_default();
    let offloads = word.starts_with("offload");
    let offloaded = file
        .written("activation_offloading")
        .is_some_and(|value| !matches!(scalar(&value).as_str(), "false" | "False"));
    let checkpoints = offloads || matches!(word.as_str(), "true" | "True");
    let wrapped = file.flag("fsdp_config.activation_checkpointing") && parallel::is_sharded(file);
    let key = if wrapped && !checkpoints { "fsdp_config.activation_checkpointing" } else { "gradient_checkpointing" };
    file.set_word("train.checkpointing", if checkpoints || wrapped { "block" } else { "none" }, key);
    if wrapped && checkpoints {
        let how = "blocks are checkpointed twice, by FSDP and by the model: `gradient_checkpointing: false` leaves it to FSDP";
        file.differ("fsdp_config.activation_checkpointing", how);
    }
    if checkpoints && file.flag("gradient_checkpointing_kwargs.use_reentrant") {
        let how = "reentrant checkpoints keep their inputs a little longer than those that are costed";
        file.differ("gradient_checkpointing_kwargs.use_reentrant", how);
    }
    if offloads || offloaded {
        let key = if offloads { "gradient_checkpointing" } else { "activation_offloading" };
        file.set("train.activation_offload", Value::Bool(true), key);
        file.differ(key, "inputs of blocks rest in host memory: they are costed as if they were on the card");
    }
    match file.written("save_steps").and_then(|_| file.number("save_steps")) {
        Some(steps) if steps >= 1.0 => file.set_number("save.every", steps, "save_steps"),
        Some(_) => file.aside("save_steps", "a plan counts steps between checkpoints"),
        None => {
            for key in ["saves_per_epoch", "save_strategy"] {
                if file.written(key).is_some() {
                    file.aside(key, "a plan counts steps between checkpoints");
                }
            }
        }
    }
}

pub(super) fn write_checkpoints(plan: &mut Writing) {
    let fsdp = plan.get("parallel.kind").is_some_and(|kind| kind == "fsdp2");
    let wrapped = fsdp && plan.get("parallel.wrapped_checkpointing") == Some(true.into());
    let recomputed = match plan.take("train.checkpointing") {
        Some(word) if word == "block" => true,
        Some(word) if word == "none" => false,
        _ => {
            plan.lose("train.checkpointing", "axolotl recomputes every block or none");
            true
        }
    };
    plan.put_unless_default("gradient_checkpointing", recomputed && !wrapped);
    match plan.take("train.activation_offload") == Some(true.into()) {
        true if recomputed && !wrapped => plan.put("activation_offloading", true),
        true => plan.lose("train.activation_offload", "axolotl moves inputs of blocks that the model recomputes"),
        false => {}
    }
    if let Some(every) = plan.take("save.every") {
        plan.put("save_steps", yaml(&every));
    }
}
