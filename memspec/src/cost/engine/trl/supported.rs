//! What the engine `trl` costs, and what it refuses with the setting that asks for it.

use super::parallel;
use crate::cost::CostError;
use crate::device::DeviceKind;
use crate::model::{Family, Norm, VisionKind};
use crate::plan::{AdapterKind, LossKind, ParallelKind, Precision, QuantizeKind, Script};
use crate::setup::{Adapter, Setup};

/// Elements, of a model or of what flows through it, that are still costed: 2^48.
const MOST_ELEMENTS: f64 = (1u64 << 48) as f64;
/// Modules that are costed where they are trained whole.
const WHOLE: [&str; 2] = ["embed_tokens", "lm_head"];
/// Tokens of a micro batch that are still costed.
const MOST_TOKENS: f64 = (1u64 << 24) as f64;

/// Says what this engine does not cost, with the setting that asks for it.
pub(in crate::cost::engine) fn check(setup: &Setup) -> Result<(), CostError> {
    let model = &setup.model;
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    if setup.device.kind == DeviceKind::Cpu {
        return refuse(
            "device",
            format!("the engine `{}` is costed on graphics cards, not on the processor", setup.engine),
        );
    }
    let (mut samples, mut tokens) = setup.largest_batch();
    if setup.data.packing {
        // In one row.
        (samples, tokens) = (1, samples.saturating_mul(tokens));
    }
    let width = (model.intermediate + model.hidden + model.query_width()) as f64 * model.layers as f64;
    // Scores, and masks of all pairs, grow with the square of the context.
    let pairs = samples as f64 * tokens as f64 * tokens as f64 * model.heads as f64;
    let all = samples as f64 * tokens as f64;
    if all > MOST_TOKENS || all * width > MOST_ELEMENTS || pairs > MOST_ELEMENTS {
        let setting =
            if setup.data.context > u64::from(setup.train.micro_batch) { "data.context" } else { "train.micro_batch" };
        return refuse(setting, format!("{samples} samples of {tokens} tokens are more than any machine holds"));
    }
    if model.parameters() as f64 > MOST_ELEMENTS {
        return refuse("model", format!("{} parameters are more than any machine holds", model.parameters()));
    }
    if tokens < 2 {
        return refuse("data.context", "a sample needs two tokens to predict one".to_owned());
    }
    let known = matches!(
        model.family,
        Family::Llama
            | Family::Mistral
            | Family::Qwen2
            | Family::Qwen3
            | Family::Phi3
            | Family::Mixtral
            | Family::Qwen3Moe
            | Family::GptOss
            | Family::Qwen2Vl
    );
    let plain = model.linear_attention.is_none()
        && !model.gated_attention
        && model.experts.as_ref().is_none_or(|experts| experts.shared_intermediate == 0 && experts.first_dense == 0)
        && model.vision.as_ref().is_none_or(|vision| vision.kind == VisionKind::Qwen2Vl);
    if !known || !plain || model.norm != Norm::Rms || model.parallel_residual || !model.gated_mlp {
        return refuse(
            "model",
            format!(
                "the engine `{}` does not know how `{}` (`{}`) allocates yet",
                setup.engine, model.name, model.model_type
            ),
        );
    }
    let special = model.experts.is_some() || model.vision.is_some();
    if special && setup.adapter.is_none() {
        return refuse("adapter", "training all weights of experts or a vision tower is not costed yet".to_owned());
    }
    if model.experts.is_some() && setup.quantize.is_some() {
        return refuse("quantize", "a quantized mixture of experts is not costed yet".to_owned());
    }
    if let (Some(vision), Some(size)) = (&model.vision, setup.data.image_size)
        && let Err(problem) = vision.patches(u64::from(size.width), u64::from(size.height))
    {
        return refuse("data.image_size", problem.to_string());
    }
    if let Some(quantize) = &setup.quantize {
        if !matches!(quantize.kind, QuantizeKind::Nf4 | QuantizeKind::Fp4 | QuantizeKind::Int8) {
            return refuse(
                "quantize",
                format!("the engine `{}` costs nf4, fp4 and int8, not {}", setup.engine, quantize.kind),
            );
        }
        if setup.adapter.is_none() {
            return refuse("quantize", "quantized weights cannot be trained: add `adapter lora { }`".to_owned());
        }
        if quantize.kind != QuantizeKind::Int8 && quantize.block != 64 {
            return refuse("quantize.block", format!("blocks of 64 are costed, not of {}", quantize.block));
        }
    }
    if setup.train.script == Script::Loop && setup.train.loss == LossKind::Chunked {
        return refuse("train.loss", "the chunked loss is SFTTrainer's; a loop of one's own has `whole`".to_owned());
    }
    if setup.train.loss == LossKind::Liger && setup.world() > 1 {
        return refuse("train.loss", "Liger's loss on several cards is not costed yet".to_owned());
    }
    if setup.data.packing && model.vision.is_some() {
        // `trl/trainer/sft_trainer.py:760`
        return refuse("data.packing", "TRL does not pack samples with images".to_owned());
    }
    if let Some(adapter) = &setup.adapter {
        adapted(setup, adapter)?;
    }
    parallel::supported::check(setup)
}

/// What an adapter cannot be.
fn adapted(setup: &Setup, adapter: &Adapter) -> Result<(), CostError> {
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    let sharded = setup.parallel.filter(|parallel| parallel.world() > 1 && parallel.kind != ParallelKind::Ddp);
    if adapter.targets.iter().any(|target| target == "lm_head") {
        // `sft_trainer.py:1058`
        return refuse(
            "adapter.targets",
            "TRL refuses an adapter on `lm_head`: train it whole with `train_whole = [lm_head]`".to_owned(),
        );
    }
    if adapter.kind == AdapterKind::Dora
        && let Some(parallel) = sharded
    {
        return refuse("adapter", format!("dora under {} is not costed yet", parallel.kind));
    }
    if let Some(module) = adapter.train_whole.iter().find(|module| !WHOLE.iter().any(|whole| ends(module, whole))) {
        return refuse("adapter.train_whole", format!("`embed_tokens` and `lm_head` are costed, not `{module}`"));
    }
    if !adapter.train_whole.is_empty() {
        if setup.world() > 1 {
            return refuse("adapter.train_whole", "whole modules on several cards are not costed yet".to_owned());
        }
        if setup.train.precision == Precision::Fp16 && setup.quantize.is_none() {
            return refuse(
                "adapter.train_whole",
                "modules trained whole are float16, whose gradients PyTorch's scaler refuses: `precision = bf16`"
                    .to_owned(),
            );
        }
    }
    Ok(())
}

fn ends(module: &str, leaf: &str) -> bool {
    module.rsplit('.').next() == Some(leaf)
}
