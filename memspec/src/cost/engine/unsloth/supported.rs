//! What the engine `unsloth` costs, and what it refuses with the setting that asks for it.

use super::super::trl::supported as stack;
use crate::cost::CostError;
use crate::model::Family;
use crate::plan::{AdapterKind, Attention, LossKind, Precision, QuantizeKind, Script, Upcast};
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
        return refuse("adapter", "the engine `unsloth` is costed for LoRA: add `adapter lora { }`");
    }
    if let Some(quantize) = setup.quantize.as_ref().filter(|quantize| quantize.kind != QuantizeKind::Nf4) {
        return Err(CostError::Unsupported {
            setting: "quantize",
            what: format!("the engine `unsloth` is costed for nf4 and for 16 bit weights, not for {}", quantize.kind),
        });
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
    if setup.train.precision != Precision::Bf16 {
        return refuse("train.precision", "the engine `unsloth` is costed for bf16");
    }
    if setup.train.attention == Attention::Eager {
        return refuse("train.attention", "Unsloth has no eager attention in training");
    }
    if setup.train.script != Script::Sft {
        return refuse("train.script", "the engine `unsloth` is costed under TRL's SFTTrainer: `sft`");
    }
    if setup.train.upcast != Upcast::None {
        return refuse("train.upcast", "Unsloth keeps parameters in the type that they were loaded in");
    }
    if setup.train.liger {
        return refuse("train.liger", "Unsloth brings its own kernels; Liger's are not used with them");
    }
    let recomputed = setup.recomputed_blocks();
    if recomputed != 0 && recomputed != setup.model.layers {
        return refuse("train.checkpointing", "Unsloth checkpoints every layer or none");
    }
    if setup.parallel.is_some() {
        return refuse("parallel", "the engine `unsloth` is costed on one GPU");
    }
    Ok(())
}
