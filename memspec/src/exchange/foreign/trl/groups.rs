//! Keys of TRL that mean something together.

use serde_yaml::{Mapping, Value as Yaml};

use super::super::hugging_face::{FLOATS, STORAGES, ours, theirs};
use super::super::peft::{self, TargetKeys};
use super::super::read::{Reading, scalar};
use super::super::training_arguments;
use super::super::write::{Writing, yaml};
use crate::plan::Value;

const TARGETS: TargetKeys = TargetKeys { modules: "lora_target_modules", parameters: "lora_target_parameters" };

pub(super) fn read_engine(file: &mut Reading<'_>) {
    file.set_word("engine", "trl", "model_name_or_path");
    file.set_word("train.script", "sft", "model_name_or_path");
    if let Some(settings) = file.text("env.PYTORCH_CUDA_ALLOC_CONF") {
        let grows = settings.split(',').any(|one| one.trim() == "expandable_segments:True");
        file.set("train.expandable_segments", Value::Bool(grows), "env.PYTORCH_CUDA_ALLOC_CONF");
        if settings.split(',').any(|one| !one.trim().starts_with("expandable_segments:")) {
            file.uncosted("env.PYTORCH_CUDA_ALLOC_CONF", "of the allocator's settings `expandable_segments` is costed");
        }
    }
}

pub(super) fn write_engine(plan: &mut Writing) {
    if plan.take_word("engine").as_deref() != Some("trl") {
        plan.lose("engine", "a file of TRL runs under TRL, whose allocations are others");
    }
    if plan.get("train.script").is_some_and(|script| script == "sft") {
        plan.take("train.script");
    }
    if plan.take("train.expandable_segments") == Some(true.into()) {
        plan.put("env.PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True");
    }
}

pub(super) fn read_adapter(file: &mut Reading<'_>) {
    if !file.flag("use_peft") {
        for key in ["use_dora", "lora_target_modules", "lora_target_parameters"] {
            if file.written(key).is_some() {
                file.aside(key, "without `use_peft: true` no adapter is trained");
            }
        }
        return;
    }
    let kind = if file.flag("use_dora") { "dora" } else { "lora" };
    file.open("adapter", kind, "use_peft");
    let modules = peft::names(file.written("lora_target_modules"));
    let parameters = peft::names(file.written("lora_target_parameters"));
    match (modules.as_slice(), parameters.as_slice()) {
        ([], []) => file.set_word("adapter.targets", "query_value", "lora_target_modules"),
        ([all], []) if all == "all-linear" => {
            let model = file.text("model_name_or_path").unwrap_or_default();
            peft::adapt_all(file, &model, "lora_target_modules");
        }
        _ => {
            if modules.iter().any(|name| name == "all-linear" || name.contains(['*', '|', '(', '\\'])) {
                file.refuse("lora_target_modules", "names of modules are understood, not patterns");
            }
            peft::adapt(file, &modules, &parameters, TARGETS);
        }
    }
}

pub(super) fn write_adapter(plan: &mut Writing) {
    let Some(kind) = plan.take_word("adapter.kind") else { return };
    plan.put("use_peft", true);
    plan.put_unless_default("use_dora", kind == "dora");
    match plan.take("adapter.targets") {
        Some(serde_json::Value::Array(names)) => peft::write_names(plan, &names, TARGETS),
        Some(word) if word == "all_linear" => {
            plan.put("lora_target_modules", "all-linear");
            peft::write_vision(plan);
        }
        Some(word) if word == "query_value" => {}
        Some(serde_json::Value::String(word)) => peft::write_word(plan, &word, TARGETS),
        _ => {}
    }
}

pub(super) fn read_quantize(file: &mut Reading<'_>) {
    if file.flag("load_in_4bit") {
        let kind = match file.text("bnb_4bit_quant_type").as_deref() {
            Some("fp4") => "fp4",
            Some("nf4") => "nf4",
            _ => {
                file.refuse("bnb_4bit_quant_type", "it is nf4 or fp4");
                "nf4"
            }
        };
        file.open("quantize", kind, "load_in_4bit");
        let double = file.flag("use_bnb_nested_quant");
        file.set("quantize.double", Value::Bool(double), "use_bnb_nested_quant");
        match file.text("bnb_4bit_quant_storage").and_then(|storage| ours(STORAGES, &storage)) {
            Some(storage) => file.set_word("quantize.storage", storage, "bnb_4bit_quant_storage"),
            None => file.refuse("bnb_4bit_quant_storage", "it is uint8, bfloat16, float16 or float32"),
        }
    } else if file.flag("load_in_8bit") {
        file.open("quantize", "int8", "load_in_8bit");
        file.set("quantize.double", Value::Bool(false), "load_in_8bit");
    }
}

pub(super) fn write_quantize(plan: &mut Writing) {
    let Some(kind) = plan.take_word("quantize.kind") else { return };
    if !matches!(kind.as_str(), "nf4" | "fp4" | "int8") {
        return plan.lose_block("quantize", "TRL's command quantizes to nf4, fp4 and int8");
    }
    let double = plan.take("quantize.double") == Some(true.into());
    let storage = plan.take_word("quantize.storage").unwrap_or_default();
    match kind.as_str() {
        "nf4" | "fp4" => {
            plan.put("load_in_4bit", true);
            plan.put_unless_default("bnb_4bit_quant_type", kind);
            plan.put_unless_default("use_bnb_nested_quant", double);
            if let Some(storage) = theirs(STORAGES, &storage) {
                plan.put_unless_default("bnb_4bit_quant_storage", storage);
            }
        }
        _ => {
            plan.put("load_in_8bit", true);
            plan.lose_of_int8(&storage, double);
        }
    }
}

/// Autocast's type by the trainer's flags, the weights' by `dtype`.
pub(super) fn read_precision(file: &mut Reading<'_>) {
    let dtype = match file.text("dtype").as_deref() {
        Some("auto") => {
            file.assume("train.base_dtype", "bf16", "`dtype: auto` is the type that the checkpoint was saved in");
            "bf16"
        }
        Some(text) if ours(FLOATS, text).is_some() => ours(FLOATS, text).unwrap_or("f32"),
        _ => {
            file.refuse("dtype", "it is auto, bfloat16, float16 or float32");
            "f32"
        }
    };
    let fp16 = file.flag("fp16");
    // `_BaseConfig.__post_init__`: bf16 unless fp16 is asked for.
    let bf16 = if file.written("bf16").is_some() { file.flag("bf16") } else { !fp16 };
    let (precision, key) = match (bf16, fp16, dtype) {
        (_, true, _) => ("fp16", "fp16"),
        (true, false, _) => ("bf16", "bf16"),
        (false, false, "bf16") => ("bf16_pure", "dtype"),
        (false, false, "fp16") => ("fp16_pure", "dtype"),
        (false, false, _) => ("f32", "bf16"),
    };
    file.set_word("train.precision", precision, key);
    file.set_word("train.base_dtype", dtype, "dtype");
    if file.is_open("quantize") {
        // `get_quantization_config`: "For consistency with model weights, we use the same value as `dtype`".
        file.set_word("quantize.compute", dtype, "dtype");
    }
}

pub(super) fn write_precision(plan: &mut Writing) {
    let precision = plan.take_word("train.precision").unwrap_or_default();
    let base = plan.take_word("train.base_dtype").unwrap_or_default();
    let pure = match precision.as_str() {
        "bf16_pure" => Some("bf16"),
        "fp16_pure" => Some("fp16"),
        _ => None,
    };
    match precision.as_str() {
        "bf16" => plan.put("bf16", true),
        "fp16" => plan.put("fp16", true),
        _ => plan.put("bf16", false),
    }
    if pure.is_some_and(|pure| pure != base) {
        plan.lose("train.base_dtype", "without autocast TRL computes in the type of the weights");
    } else if precision == "f32" && base != "f32" {
        plan.lose("train.precision", "without autocast TRL computes in the type of the weights");
    }
    let dtype = pure.unwrap_or(&base).to_owned();
    if let Some(theirs) = theirs(FLOATS, &dtype) {
        plan.put("dtype", theirs);
    }
    if plan.is_open("quantize.compute") && plan.take_word("quantize.compute").is_some_and(|compute| compute != dtype) {
        plan.lose("quantize.compute", "TRL unpacks to the type of the other weights, `dtype`");
    }
}

pub(super) fn read_data(file: &mut Reading<'_>) {
    let path = if let Some(listed) = file.written("datasets") {
        let one = listed.as_sequence().filter(|list| list.len() == 1).and_then(|list| list.first());
        let found = one.and_then(|one| one.get("data_files").filter(|files| files.is_string()).or(one.get("path")));
        if found.is_none() {
            file.aside("datasets", "a plan has one file of samples");
        }
        found.map(|path| (scalar(path), "datasets"))
    } else {
        file.text("dataset_name").map(|name| (name, "dataset_name"))
    };
    let strategy = file.text("eval_strategy").unwrap_or_default();
    if let Some((path, key)) = path {
        file.set_word("data.path", path.clone(), key);
        if strategy != "no" && strategy != "false" {
            file.set_word("data.eval_path", path, "eval_strategy");
        }
    }
    // `trl/trainer/base_config.py`
    training_arguments::read_evaluations(file, 10.0);
    if let Some(template) = file.text("chat_template_path") {
        file.set_word("data.template", template, "chat_template_path");
    }
    if file.is_null("max_length") {
        file.refuse("max_length", "samples of any length take any memory: a plan says the longest");
    } else if let Some(length) = file.number("max_length") {
        file.set_number("data.context", length, "max_length");
        if file.number("pad_to_multiple_of").is_some_and(|multiple| multiple > 0.0 && length % multiple != 0.0) {
            file.refuse("pad_to_multiple_of", "it makes samples longer than `max_length`");
        } else if file.written("pad_to_multiple_of").is_some() {
            file.aside("pad_to_multiple_of", "`max_length` is a multiple of it");
        }
    }
    let flat = file.flag("padding_free");
    file.set_word("data.padding", if flat { "none" } else { "longest" }, "padding_free");
    let assistant = if file.flag("assistant_only_loss") {
        Some("assistant_only_loss")
    } else {
        file.flag("completion_only_loss").then_some("completion_only_loss")
    };
    let key = assistant.unwrap_or("assistant_only_loss");
    file.set_word("data.loss_on", if assistant.is_some() { "assistant" } else { "all" }, key);
}

pub(super) fn write_data(plan: &mut Writing) {
    let path = plan.take_word("data.path");
    if let Some(path) = &path {
        let kind = match path.rsplit_once('.').map(|(_, extension)| extension) {
            Some("json" | "jsonl") => Some("json"),
            Some("parquet") => Some("parquet"),
            _ => None,
        };
        match kind {
            Some(kind) => {
                let mut file = Mapping::new();
                file.insert("path".into(), kind.into());
                file.insert("data_files".into(), path.as_str().into());
                plan.put("datasets", Yaml::Sequence(vec![Yaml::Mapping(file)]));
            }
            None => plan.put("dataset_name", path.as_str()),
        }
    }
    match plan.take_word("data.eval_path") {
        Some(eval) if Some(&eval) == path.as_ref() => {
            training_arguments::write_evaluations(plan);
        }
        Some(_) => {
            let why = "TRL's command evaluates on a split of the same dataset (`dataset_test_split`)";
            for path in ["data.eval_path", "eval.every", "eval.micro_batch"] {
                if plan.says(path) {
                    plan.lose(path, why);
                } else {
                    plan.take(path);
                }
            }
        }
        None => plan.lose_evaluation(),
    }
    if let Some(template) = plan.take("data.template") {
        plan.put("chat_template_path", yaml(&template));
    }
    if let Some(context) = plan.take("data.context") {
        plan.put("max_length", yaml(&context));
    }
    match plan.take_word("data.padding").as_deref() {
        Some("none") => plan.put("padding_free", true),
        Some("max") => plan.lose("data.padding", "TRL fills samples to the batch's longest"),
        _ => {}
    }
    if plan.take_word("data.loss_on").as_deref() == Some("assistant") {
        plan.put("assistant_only_loss", true);
    }
}

/// Blocks that are computed again, and what is written to disk.
pub(super) fn read_checkpoints(file: &mut Reading<'_>) {
    let checkpoints = file.flag("gradient_checkpointing");
    // FSDP's own takes the trainer's place, and is read with the rest of `parallel`.
    let wrapped = file.flag("fsdp_activation_checkpointing") || file.flag("fsdp_config.activation_checkpointing");
    let key = if wrapped && !checkpoints { "fsdp_activation_checkpointing" } else { "gradient_checkpointing" };
    file.set_word("train.checkpointing", if checkpoints || wrapped { "block" } else { "none" }, key);
    if checkpoints && file.flag("gradient_checkpointing_kwargs.use_reentrant") {
        let how = "reentrant checkpoints keep their inputs a little longer than those that are costed";
        file.differ("gradient_checkpointing_kwargs.use_reentrant", how);
    }
}

pub(super) fn write_checkpoints(plan: &mut Writing) {
    let fsdp = plan.get("parallel.kind").is_some_and(|kind| kind == "fsdp2");
    let wrapped = fsdp && plan.get("parallel.wrapped_checkpointing") == Some(true.into());
    match plan.take("train.checkpointing") {
        Some(word) if word == "block" => plan.put("gradient_checkpointing", !wrapped),
        Some(word) if word == "none" => plan.put("gradient_checkpointing", false),
        _ => {
            plan.put("gradient_checkpointing", !wrapped);
            plan.lose("train.checkpointing", "TRL recomputes every block or none");
        }
    }
}
