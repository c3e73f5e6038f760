//! What axolotl trains beside the frozen base, and how it packs that.

use super::super::hugging_face::{STORAGES, ours, theirs};
use super::super::peft::{self, TargetKeys};
use super::super::read::Reading;
use super::super::write::{Writing, float, yaml};
use super::{model, targets};
use crate::plan::Value;

const TARGETS: TargetKeys = TargetKeys { modules: "lora_target_modules", parameters: "lora_target_parameters" };

pub(super) fn read(file: &mut Reading<'_>) {
    let frozen = match file.text("adapter").as_deref() {
        Some("lora" | "qlora") => true,
        None | Some("") => false,
        Some(_) => {
            file.uncosted("adapter", "of axolotl's adapters lora and qlora are costed");
            false
        }
    };
    if !frozen {
        if file.flag("freeze_mm_modules") {
            file.differ("freeze_mm_modules", "the tower is not trained: it is costed as if it were");
        }
        for key in
            ["lora_target_modules", "lora_target_linear", "lora_target_parameters", "lora_alpha", "peft_use_dora"]
        {
            if file.written(key).is_some() {
                file.aside(key, "without `adapter` none is trained");
            }
        }
        return;
    }
    let kind = if file.flag("peft_use_dora") { "dora" } else { "lora" };
    file.open("adapter", kind, "adapter");
    if file.written("lora_r").is_none() {
        file.refuse("lora_r", "it is missing: axolotl has no rank of its own");
    }
    if let Some(alpha) = file.written("lora_alpha").and_then(|_| file.number("lora_alpha")) {
        file.set_number("adapter.alpha", alpha, "lora_alpha");
    }
    let dtype = match file.flag("peft_autocast_adapter_dtype") {
        true => "f32",
        false => model::half(file).unwrap_or("bf16"),
    };
    file.set_word("adapter.dtype", dtype, "peft_autocast_adapter_dtype");
    read_targets(file);
}

fn read_targets(file: &mut Reading<'_>) {
    let modules = peft::names(file.written("lora_target_modules"));
    let parameters = peft::names(file.written("lora_target_parameters"));
    if file.flag("lora_target_linear") {
        // `loaders/adapter.py:60`, `find_all_linear_names`: the last names of all linears, the tower's among them.
        let model = file.text("base_model").unwrap_or_default();
        peft::adapt_found(file, &model, "lora_target_linear");
        if peft::has_tower(&model) == Some(true) {
            file.set("adapter.vision", Value::Bool(true), "lora_target_linear");
        }
        if !parameters.is_empty() {
            file.uncosted(
                "lora_target_parameters",
                "with `lora_target_linear` parameters are not costed: list the modules",
            );
        }
        return;
    }
    match modules.as_slice() {
        [] if parameters.is_empty() => {
            file.refuse("lora_target_modules", "it is missing: axolotl adapts what is named")
        }
        [pattern] if targets::is_pattern(pattern) => match targets::matched(pattern) {
            Some(matched) => {
                let model = file.text("base_model").unwrap_or_default();
                let names: Vec<String> = matched.linears.iter().map(|name| (*name).to_owned()).collect();
                peft::adapt(file, &names, &parameters, TARGETS);
                if matched.tower {
                    file.set("adapter.vision", Value::Bool(true), "lora_target_modules");
                } else if peft::tower_has(&model, &matched.linears) {
                    let how =
                        "the pattern leaves the tower alone: its linears of the same names are costed with adapters";
                    file.differ("lora_target_modules", how);
                }
            }
            None => file.refuse("lora_target_modules", "this pattern names no linears that are known"),
        },
        names => {
            if names.iter().any(|name| targets::is_pattern(name)) {
                file.refuse("lora_target_modules", "a pattern stands alone, not in a list");
            }
            peft::adapt(file, names, &parameters, TARGETS);
        }
    }
}

pub(super) fn write(plan: &mut Writing) {
    let Some(kind) = plan.take_word("adapter.kind") else { return };
    let nf4 = plan.get("quantize.kind").is_some_and(|kind| kind == "nf4" || kind == "fp4");
    plan.put("adapter", if nf4 { "qlora" } else { "lora" });
    plan.put_unless_default("peft_use_dora", kind == "dora");
    if let Some(rank) = plan.take("adapter.rank") {
        plan.put("lora_r", yaml(&rank));
    }
    if let Some(alpha) = plan.take("adapter.alpha").and_then(|alpha| alpha.as_f64()) {
        plan.put("lora_alpha", float(alpha.round()));
        if alpha.fract() != 0.0 {
            plan.lose("adapter.alpha", "`lora_alpha` is a whole number: the nearest is written");
        }
    }
    match plan.take("adapter.targets") {
        Some(serde_json::Value::Array(names)) => peft::write_names(plan, &names, TARGETS),
        Some(word) if word == "all_linear" && !peft::means_experts(plan) => {
            plan.put("lora_target_linear", true);
            peft::write_vision(plan);
        }
        Some(serde_json::Value::String(word)) => peft::write_word(plan, &word, TARGETS),
        _ => {}
    }
    match plan.take_word("adapter.dtype").as_deref() {
        Some("f32") | None => {}
        Some(dtype) if Some(dtype) == model::written_half(plan) => plan.put("peft_autocast_adapter_dtype", false),
        Some(_) => plan.lose("adapter.dtype", "adapters are float32 or of the base's type"),
    }
}

pub(super) fn read_quantize(file: &mut Reading<'_>) {
    let adapter = file.text("adapter").unwrap_or_default();
    if file.is_open("adapter") && file.flag("gptq") {
        file.open("quantize", "gptq", "gptq");
    } else if adapter == "qlora" && file.flag("load_in_4bit") {
        let kind = match file.text("bnb_config_kwargs.bnb_4bit_quant_type").as_deref() {
            Some("fp4") => "fp4",
            Some("nf4") => "nf4",
            _ => {
                file.refuse("bnb_config_kwargs.bnb_4bit_quant_type", "it is nf4 or fp4");
                "nf4"
            }
        };
        file.open("quantize", kind, "load_in_4bit");
        let key = "bnb_config_kwargs.bnb_4bit_use_double_quant";
        let double = file.flag(key);
        file.set("quantize.double", Value::Bool(double), key);
        let key = "bnb_config_kwargs.bnb_4bit_quant_storage";
        match file.text(key).and_then(|storage| ours(STORAGES, storage.trim_start_matches("torch."))) {
            Some(storage) => file.set_word("quantize.storage", storage, key),
            None => file.refuse(key, "it is uint8, bfloat16, float16 or float32"),
        }
    } else if adapter == "lora" && file.flag("load_in_8bit") {
        file.open("quantize", "int8", "load_in_8bit");
        file.set("quantize.double", Value::Bool(false), "load_in_8bit");
    } else {
        for key in ["load_in_4bit", "load_in_8bit"] {
            if file.flag(key) {
                file.aside(key, "axolotl packs to 4 bits with `adapter: qlora`, to 8 with `adapter: lora`");
            }
        }
    }
    read_experts(file);
}

/// Experts are packed by a switch of their own, or as the linears that Llama 4's are made.
fn read_experts(file: &mut Reading<'_>) {
    let Some(key) = ["quantize_moe_experts", "llama4_linearized_experts"].into_iter().find(|key| file.flag(key)) else {
        return;
    };
    if file.is_open("quantize") {
        file.set("quantize.experts", Value::Bool(true), key);
    } else {
        file.aside(key, "nothing is packed");
    }
}

pub(super) fn write_quantize(plan: &mut Writing) {
    let Some(kind) = plan.take_word("quantize.kind") else { return };
    if plan.get("adapter.kind").is_none() {
        return plan.lose_block("quantize", "axolotl packs weights for an adapter only");
    }
    let experts = plan.take("quantize.experts") == Some(true.into());
    if kind == "gptq" {
        plan.put("gptq", true);
        if experts {
            plan.lose("quantize.experts", "a GPTQ checkpoint is as it was published");
        }
        for path in ["quantize.double", "quantize.storage"] {
            if plan.says(path) {
                plan.lose(path, "a GPTQ checkpoint is as it was published");
            } else {
                plan.take(path);
            }
        }
        return;
    }
    if !matches!(kind.as_str(), "nf4" | "fp4" | "int8") {
        return plan.lose_block("quantize", "axolotl takes NF4, FP4, int8 and GPTQ");
    }
    plan.put_unless_default("quantize_moe_experts", experts);
    let double = plan.take("quantize.double") == Some(true.into());
    let storage = plan.take_word("quantize.storage").unwrap_or_default();
    if kind == "int8" {
        plan.put("load_in_8bit", true);
        plan.lose_of_int8(&storage, double);
        return;
    }
    plan.put("load_in_4bit", true);
    plan.put_unless_default("bnb_config_kwargs.bnb_4bit_quant_type", kind);
    plan.put_unless_default("bnb_config_kwargs.bnb_4bit_use_double_quant", double);
    if let Some(storage) = theirs(STORAGES, &storage) {
        plan.put_unless_default("bnb_config_kwargs.bnb_4bit_quant_storage", storage);
    }
}
