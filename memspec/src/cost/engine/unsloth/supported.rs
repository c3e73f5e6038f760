//! What the engine `unsloth` costs, and what it refuses with the setting that asks for it.

use super::super::trl::supported as stack;
use crate::cost::CostError;
use crate::model::Family;
use crate::plan::{AdapterKind, Attention, LossKind, Padding, Precision, QuantizeKind, Script, Upcast};
use crate::setup::Setup;

/// Says what this engine does not cost, with the setting that asks for it.
pub(super) fn check(setup: &Setup) -> Result<(), CostError> {
    stack::check(setup)?;
    let refuse = |setting: &'static str, what: &str| Err(CostError::Unsupported { setting, what: what.to_owned() });
    let model = &setup.model;
    let known = matches!(model.family, Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 | Family::Phi3);
    if !known || model.experts.is_some() || model.vision.is_some() {
        return Err(CostError::Unsupported {
            setting: "model",
            what: format!(
                "the engine `unsloth` does not know how `{}` (`{}`) allocates yet",
                model.name, model.model_type
            ),
        });
    }
    if setup.adapter.is_none() {
        whole(setup)?;
    }
    if let Some(quantize) = &setup.quantize
        && !matches!(quantize.kind, QuantizeKind::Nf4 | QuantizeKind::Int8)
    {
        return refuse("quantize", "the engine `unsloth` is costed for nf4, int8 and 16 bit weights");
    }
    if let Some(adapter) = &setup.adapter {
        if adapter.kind != AdapterKind::Lora {
            return refuse("adapter", "the engine `unsloth` is costed for lora, not for dora");
        }
        if adapter.dropout > 0.0 {
            return refuse("adapter.dropout", "the engine `unsloth` is costed without dropout: 0%");
        }
        if !adapter.train_whole.is_empty() {
            return refuse("adapter.train_whole", "the engine `unsloth` is costed without whole modules");
        }
    }
    if setup.data.packing {
        return refuse("data.packing", "the engine `unsloth` is costed without packing");
    }
    if !matches!(setup.train.loss, LossKind::Auto | LossKind::Chunked) {
        return refuse("train.loss", "Unsloth brings its own loss: `auto`");
    }
    let int8 = setup.quantize.as_ref().is_some_and(|quantize| quantize.kind == QuantizeKind::Int8);
    if int8 && !matches!(model.family, Family::Llama | Family::Mistral) {
        return refuse("quantize", "int8 under Unsloth is costed for Llama and Mistral");
    }
    if int8 && setup.train.precision == Precision::Fp16 {
        return refuse("train.precision", "int8 under Unsloth is costed in bf16");
    }
    let whole_or_int8 = int8 || setup.adapter.is_none();
    if setup.data.padding == Padding::None && (whole_or_int8 || model.family == Family::Phi3) {
        return refuse(
            "data.padding",
            "batches without padding are costed where Unsloth's own layers run: `padding = longest`",
        );
    }
    if setup.eval.is_some() && whole_or_int8 {
        return refuse("data.eval_path", "evaluation under Unsloth is costed with adapters on nf4 and 16 bit weights");
    }
    if !matches!(setup.train.precision, Precision::Bf16 | Precision::Bf16Pure | Precision::Fp16) {
        return refuse("train.precision", "the engine `unsloth` is costed for bf16 and fp16");
    }
    if setup.train.attention == Attention::Eager {
        return refuse("train.attention", "Unsloth has no eager attention in training");
    }
    if setup.train.script != Script::Sft {
        return refuse("train.script", "the engine `unsloth` is costed under TRL's SFTTrainer: `sft`");
    }
    if setup.train.base_dtype.is_some() {
        return refuse("train.base_dtype", "Unsloth chooses the type that weights are loaded in itself");
    }
    if setup.train.upcast != Upcast::None {
        return refuse("train.upcast", "Unsloth keeps parameters in the type that they were loaded in");
    }
    if setup.train.liger {
        return refuse("train.liger", "Unsloth brings its own kernels; Liger's are not used with them");
    }
    let recomputed = setup.recomputed_blocks();
    if setup.train.use_cache && recomputed == 0 {
        return refuse("train.use_cache", "keys and values that are cached while training are not costed");
    }
    if recomputed != 0 && recomputed != setup.model.layers {
        return refuse("train.checkpointing", "Unsloth checkpoints every layer or none");
    }
    if setup.parallel.is_some() {
        return refuse("parallel", "the engine `unsloth` is costed on one GPU");
    }
    Ok(())
}

/// All weights: what is costed of `full_finetuning`.
fn whole(setup: &Setup) -> Result<(), CostError> {
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    if !matches!(setup.model.family, Family::Llama | Family::Mistral | Family::Qwen2) {
        return refuse(
            "adapter",
            format!("the engine `unsloth` does not know how all weights of `{}` are trained yet", setup.model.name),
        );
    }
    if !matches!(setup.train.precision, Precision::Bf16 | Precision::Bf16Pure) {
        return refuse("train.precision", "training all weights is costed under Unsloth in bf16".to_owned());
    }
    Ok(())
}
