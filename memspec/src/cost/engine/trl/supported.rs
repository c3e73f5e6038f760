//! What the engine `trl` costs, and what it refuses with the setting that asks for it.

use super::parallel;
use crate::cost::CostError;
use crate::device::DeviceKind;
use crate::model::{Architecture, Family, PublishedQuantization, VisionKind};
use crate::plan::{AdapterKind, EngineName, LossKind, Padding, ParallelKind, Precision, QuantizeKind, Script, Upcast};
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
    let plain = model.linear_attention.is_none() && !model.gated_attention;
    if !is_known(model) || !plain {
        return refuse(
            "model",
            format!(
                "the engine `{}` does not know how `{}` (`{}`) allocates yet",
                setup.engine, model.name, model.model_type
            ),
        );
    }
    if setup.train.liger && !has_llama_block(model.family) {
        return refuse("train.liger", format!("Liger's kernels for `{}` are not costed yet", model.model_type));
    }
    if setup.train.liger && model.vision.is_some() && setup.data.images > 0 {
        // `liger_kernel/transformers/monkey_patch.py` replaces the tower's norms, too.
        return refuse("train.liger", "Liger's kernels in a vision tower are not costed yet".to_owned());
    }
    if setup.world() > 1 && !has_llama_block(model.family) {
        return refuse("parallel", format!("`{}` on several cards is not costed yet", model.model_type));
    }
    let old = setup.device.compute_capability.is_some_and(|(major, _)| major < 8);
    if model.head_dim > 128 && !has_llama_block(model.family) && (old || setup.train.precision == Precision::F32) {
        let setting = if old { "device" } else { "train.precision" };
        return refuse(setting, "attention with heads wider than 128 is costed in 16 bits, from Ampere on".to_owned());
    }
    if model.vision.as_ref().is_some_and(|vision| vision.kind != VisionKind::Qwen2Vl)
        && setup.data.images > 0
        && setup.world() > 1
    {
        let what = format!("images of `{}` on several cards are not costed yet", model.model_type);
        return refuse("parallel", what);
    }
    if model.vision.is_some() && setup.adapter.is_none() && setup.world() > 1 {
        return refuse(
            "parallel",
            "training all weights of a vision tower on several cards is not costed yet".to_owned(),
        );
    }
    if model.experts.is_some() {
        experts(setup)?;
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
    if matches!(setup.train.script, Script::Loop | Script::LlamafactoryV1) && setup.train.loss == LossKind::Chunked {
        return refuse("train.loss", "the chunked loss is SFTTrainer's; a loop of one's own has `whole`".to_owned());
    }
    if setup.train.loss == LossKind::Asft {
        asft(setup)?;
    }
    if setup.train.loss == LossKind::Liger && !has_llama_block(model.family) {
        return refuse("train.loss", format!("Liger's loss for `{}` is not costed yet", model.model_type));
    }
    if setup.train.loss == LossKind::Liger && setup.world() > 1 {
        return refuse("train.loss", "Liger's loss on several cards is not costed yet".to_owned());
    }
    if setup.data.packing && model.vision.is_some() && setup.train.script == Script::Sft {
        // `trl/trainer/sft_trainer.py:760`
        return refuse("data.packing", "TRL does not pack samples with images".to_owned());
    }
    // `inputs["use_cache"] = False` (`trl/trainer/sft_trainer.py:1562`); recomputed blocks keep none (`transformers/modeling_layers.py:101`).
    if setup.train.use_cache && setup.train.script != Script::Sft && setup.recomputed_blocks() == 0 {
        return refuse("train.use_cache", "keys and values that are cached while training are not costed".to_owned());
    }
    if let Some(adapter) = &setup.adapter {
        adapted(setup, adapter)?;
    }
    if setup.data.padding == Padding::None && setup.engine == EngineName::Trl {
        return refuse(
            "data.padding",
            "TRL's batches without padding are not costed yet: `padding = longest`".to_owned(),
        );
    }
    between_and_after(setup)?;
    parallel::supported::check(setup)
}

/// Evaluation between steps, and merging after them.
fn between_and_after(setup: &Setup) -> Result<(), CostError> {
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    if setup.eval.is_some() {
        let chunked = matches!(setup.train.loss, LossKind::Auto | LossKind::Chunked);
        let costed = match setup.train.script {
            Script::Sft => chunked,
            Script::Loop => false,
            // It evaluates nothing.
            Script::LlamafactoryV1 => false,
            Script::Axolotl | Script::Llamafactory => true,
        };
        if !costed {
            return refuse("data.eval_path", "evaluation is costed with SFTTrainer's chunked loss alone".to_owned());
        }
        let kind = setup.parallel.filter(|parallel| parallel.world() > 1).map(|parallel| parallel.kind);
        if let Some(kind) = kind.filter(|kind| !matches!(kind, ParallelKind::Ddp | ParallelKind::Fsdp2)) {
            return refuse("data.eval_path", format!("evaluation under {kind} is not costed yet"));
        }
    }
    let Some(adapter) = setup.adapter.as_ref().filter(|_| setup.save.merge) else { return Ok(()) };
    if setup.model.experts.is_some() {
        return refuse("save.merge", "merging into a mixture of experts is not costed yet".to_owned());
    }
    if adapter.kind == AdapterKind::Dora || !adapter.train_whole.is_empty() {
        return refuse("save.merge", "merging dora and modules trained whole is not costed yet".to_owned());
    }
    if setup.world() > 1 {
        return refuse("save.merge", "merging is costed on one card: merge in a process of its own".to_owned());
    }
    Ok(())
}

/// A frozen copy of the model beside it.
fn asft(setup: &Setup) -> Result<(), CostError> {
    let refuse = |setting: &'static str, what: &str| Err(CostError::Unsupported { setting, what: what.to_owned() });
    if setup.train.script != Script::Llamafactory {
        return refuse("train.loss", "`asft` is LLaMA-Factory's: `script = llamafactory`");
    }
    if setup.adapter.is_some() {
        // `llamafactory/train/trainer_utils.py:137`
        return refuse(
            "train.loss",
            "with an adapter LLaMA-Factory makes no second model for `asft`, and the run ends",
        );
    }
    if setup.parallel.is_some_and(|parallel| parallel.world() > 1 && parallel.kind != ParallelKind::Ddp) {
        return refuse("train.loss", "`asft` is costed on one card and under DDP");
    }
    if setup.model.vision.is_some() || setup.model.experts.is_some() {
        return refuse("train.loss", "`asft` of experts and vision towers is not costed yet");
    }
    Ok(())
}

/// Families whose block is Llama's but for numbers, with experts or a tower where they have them.
fn has_llama_block(family: Family) -> bool {
    matches!(
        family,
        Family::Llama
            | Family::Mistral
            | Family::Qwen2
            | Family::Qwen3
            | Family::Phi3
            | Family::Mixtral
            | Family::Qwen2Moe
            | Family::Qwen3Moe
            | Family::GptOss
            | Family::Qwen2Vl
    )
}

/// Families whose block `form.rs` describes.
fn is_known(model: &Architecture) -> bool {
    has_llama_block(model.family)
        || matches!(
            model.family,
            Family::Gemma
                | Family::Gemma2
                | Family::Gemma3
                | Family::Phi
                | Family::Starcoder2
                | Family::GptNeoX
                | Family::StableLm
                | Family::Cohere2
                | Family::Olmo3
                | Family::Glm4
                | Family::Nemotron
                | Family::Arcee
                | Family::Apertus
                | Family::Hunyuan
                | Family::Ernie45
                | Family::SmolLm3
        )
}

/// What transformers, bitsandbytes and PEFT cannot do with a mixture of experts.
fn experts(setup: &Setup) -> Result<(), CostError> {
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    if setup.train.upcast == Upcast::Unpacked {
        return refuse("train.upcast", "experts in float32 on a quantized model are not costed yet".to_owned());
    }
    if setup.quantize.as_ref().is_some_and(|quantize| quantize.experts) && setup.train.script != Script::Axolotl {
        let what =
            "bitsandbytes packs linears, and experts are none: axolotl alone packs them (`train.script = axolotl`)";
        return refuse("quantize.experts", what.to_owned());
    }
    let packed = matches!(setup.model.published_quantization, Some(PublishedQuantization::Mxfp4Experts));
    if let Some(quantize) = &setup.quantize {
        if quantize.kind == QuantizeKind::Mxfp4 {
            // `transformers/quantizers/quantizer_mxfp4.py:287`, `is_trainable`; `transformers/trainer_utils.py:135`.
            let what = "transformers cannot train experts packed in MXFP4: without `quantize`, a checkpoint that is published so \
                        is unpacked to bf16 on load (`Mxfp4Config(dequantize=True)`)";
            return refuse("quantize", what.to_owned());
        }
        if packed {
            // `transformers/quantizers/auto.py:259`, `merge_quantization_configs`.
            let what = format!(
                "transformers quantizes no checkpoint that is published in MXFP4: take a copy of `{}` in 16 bits, or leave `quantize` out",
                setup.model.name
            );
            return refuse("quantize", what);
        }
    }
    let targets = setup.adapter.iter().flat_map(|adapter| &adapter.targets);
    if setup.world() > 1 && targets.clone().any(|target| of_expert(setup, target)) {
        return refuse("adapter.targets", "adapters of experts on several cards are not costed yet".to_owned());
    }
    if let Some([_, gate, up, _]) = setup.model.expert_names()
        && targets.clone().any(|target| target == gate) != targets.clone().any(|target| target == up)
    {
        // `peft/utils/transformers_weight_conversion.py:465`.
        return refuse("adapter.targets", format!("PEFT adapts {gate} and {up} of experts together or not at all"));
    }
    Ok(())
}

/// Whether an adapter's target is a router or a matrix of experts.
fn of_expert(setup: &Setup, target: &str) -> bool {
    target.starts_with("experts.") || setup.model.expert_names().is_some_and(|names| names.contains(&target))
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
