//! What the engine `memspec` runs, and what it refuses with the setting that asks for it.

use crate::cost::CostError;
use crate::device::DeviceKind;
use crate::model::{Activation, Family, Norm, RopeScaling};
use crate::plan::{
    AdapterKind, Attention, DeviceMap, Float, LossKind, OptimizerKind, Padding, Precision, QuantizeKind, Script, Upcast,
};
use crate::setup::Setup;

/// Elements, of a model or of what flows through it, that are still costed: 2^54.
const MOST_ELEMENTS: f64 = (1u64 << 54) as f64;
/// Ranks of an adapter that are still costed.
const MOST_RANK: u32 = 1 << 16;

/// Says what this engine does not run, with the setting that asks for it.
pub(super) fn check(setup: &Setup) -> Result<(), CostError> {
    let model = &setup.model;
    let refuse = |setting: &'static str, what: String| Err(CostError::Unsupported { setting, what });
    // Far beyond any machine, and where bytes would no longer be counted exactly.
    let (micro_batch, context) = (u64::from(setup.train.micro_batch), setup.data.context);
    let width = (model.intermediate + model.hidden + model.heads * model.head_dim) as f64 * model.layers as f64;
    if micro_batch as f64 * context as f64 * width > MOST_ELEMENTS {
        let setting = if context > micro_batch { "data.context" } else { "train.micro_batch" };
        return refuse(setting, format!("{micro_batch} samples of {context} tokens are more than any machine holds"));
    }
    if model.parameters() as f64 > MOST_ELEMENTS {
        return refuse("model", format!("{} parameters are more than any machine holds", model.parameters()));
    }
    if let Some(adapter) = &setup.adapter
        && adapter.rank > MOST_RANK
    {
        return refuse("adapter.rank", format!("a rank of {} is beyond the dimensions of any model", adapter.rank));
    }
    let phi3 = model.family == Family::Phi3;
    if !matches!(model.family, Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3 | Family::Phi3)
        || model.experts.is_some()
        || model.vision.is_some()
        || model.norm != Norm::Rms
        || model.activation != Activation::Silu
        // A fused module's bias would have to be taken in parts.
        || model.fused_linears && (!phi3 || model.qkv_bias || model.mlp_bias)
        || model.qk_norm_spans_heads
        || model.attention_sinks
        || model.rope.fraction != 1.0 && !phi3
        || !model.rope.rotated(model.head_dim).is_multiple_of(2)
        || model.rope.local_theta.is_some()
        || model.head_bias
        || !model.gated_mlp
        || matches!(model.rope.scaling, RopeScaling::Other { .. })
    {
        return refuse(
            "model",
            format!(
                "the engine `memspec` runs Llama (SmolLM2, TinyLlama, Llama 2 and 3), Mistral, Qwen 2 and 2.5, dense Qwen 3, and Phi 3 and 4 in this version; `{}` is `{}`{}",
                model.name,
                model.model_type,
                match &model.rope.scaling {
                    RopeScaling::Other { kind } if kind == "longrope" => {
                        ", and the factors of its rotary scaling are in its own config.json only: give the model's folder"
                            .to_owned()
                    }
                    RopeScaling::Other { kind } => format!(", with the rotary scaling `{kind}`"),
                    _ => String::new(),
                }
            ),
        );
    }
    if let Some(quantize) = &setup.quantize
        && !matches!(quantize.kind, QuantizeKind::Nf4 | QuantizeKind::Int8)
    {
        return refuse("quantize", format!("the engine `memspec` quantizes to nf4 and int8, not {}", quantize.kind));
    }
    if setup.quantize.is_some() && setup.adapter.is_none() {
        return refuse("quantize", "quantized weights cannot be trained: add `adapter lora { }`".to_owned());
    }
    if !matches!(setup.train.optimizer, OptimizerKind::Adamw | OptimizerKind::Adamw8bit | OptimizerKind::Sgd) {
        return refuse(
            "train.optimizer",
            format!(
                "the engine `memspec` has the optimizers adamw, adamw_8bit and sgd in this version, not {}",
                setup.train.optimizer
            ),
        );
    }
    if let Some(adapter) = &setup.adapter {
        // PEFT's base, too, then works on what dropout leaves, in a product of its own beside that on all of the input.
        if adapter.dropout > 0.0 && adapter.kind == AdapterKind::Dora {
            return refuse(
                "adapter.dropout",
                "the engine `memspec` has no dropout with dora in this version: leave it out, or write `adapter lora`"
                    .to_owned(),
            );
        }
        if !adapter.train_whole.is_empty() {
            return refuse(
                "adapter.train_whole",
                "the engine `memspec` trains no whole modules beside an adapter in this version".to_owned(),
            );
        }
    }
    if let Some(target) = setup.adapter.iter().flat_map(|adapter| &adapter.targets).find(|target| *target == "lm_head")
    {
        return refuse(
            "adapter.targets",
            format!("the engine `memspec` puts no adapter on `{target}` in this version"),
        );
    }
    if let Some(quantize) = &setup.quantize
        && quantize.kind == QuantizeKind::Nf4
        && quantize.block != 64
    {
        return refuse(
            "quantize.block",
            format!("the engine `memspec` quantizes in blocks of 64, not {}", quantize.block),
        );
    }
    if setup.device.kind == DeviceKind::Cpu && setup.train.precision != Precision::F32 {
        return refuse(
            "train.precision",
            format!("on the CPU the engine `memspec` computes in f32, not {}", setup.train.precision),
        );
    }
    if setup.train.precision == Precision::Fp16Pure {
        return refuse(
            "train.precision",
            "gradients vanish in f16 where no loss is scaled: the engine `memspec` has `fp16`, with f32 weights and a scaled loss"
                .to_owned(),
        );
    }
    if setup.train.precision == Precision::Bf16Pure
        && setup.adapter.as_ref().is_some_and(|adapter| adapter.kind == AdapterKind::Dora)
    {
        return refuse(
            "train.precision",
            "the engine `memspec` trains DoRA's magnitudes in f32, where their steps are not lost: `bf16` or `f32`"
                .to_owned(),
        );
    }
    if setup.data.padding == Padding::None {
        return refuse("data.padding", "the engine `memspec` fills the samples of a batch to one length".to_owned());
    }
    match of_other_engines(setup) {
        Some((setting, what)) => refuse(setting, what.to_owned()),
        None => Ok(()),
    }
}

/// The first setting that only the engines `trl` and `unsloth` have.
fn of_other_engines(setup: &Setup) -> Option<(&'static str, &'static str)> {
    let (train, adapter) = (&setup.train, setup.adapter.as_ref());
    let adapters = if train.precision == Precision::Bf16Pure { Float::Bf16 } else { Float::F32 };
    [
        (setup.parallel.is_some(), "parallel", "the engine `memspec` runs on one device in this version"),
        (
            train.attention != Attention::Auto,
            "train.attention",
            "the engine `memspec` has one kind of attention, linear in memory: `auto`",
        ),
        (
            !matches!(train.loss, LossKind::Auto | LossKind::Chunked),
            "train.loss",
            "the engine `memspec` always computes the loss in chunks: `auto` or `chunked`",
        ),
        (
            train.device_map != DeviceMap::None,
            "train.device_map",
            "the engine `memspec` runs on one device in this version",
        ),
        (!setup.data.new_tokens.is_empty(), "data.new_tokens", "the engine `memspec` adds no words in this version"),
        (
            setup.data.pad_token.is_some(),
            "data.pad_token",
            "the engine `memspec` leaves filled places out of the loss, whatever stands there",
        ),
        (setup.data.eos_token.is_some(), "data.eos_token", "the engine `memspec` ends answers as the tokenizer says"),
        (train.script != Script::Sft, "train.script", "the engine `memspec` is its own script"),
        (
            train.base_dtype.is_some(),
            "train.base_dtype",
            "the engine `memspec` keeps weights in the type it computes in",
        ),
        (
            train.upcast != Upcast::None,
            "train.upcast",
            "the engine `memspec` keeps parameters in the type it computes in",
        ),
        (train.liger, "train.liger", "the engine `memspec` has kernels of its own, not Liger's"),
        (train.expandable_segments, "train.expandable_segments", "the engine `memspec` does not allocate with PyTorch"),
        (
            train.tf32 && setup.device.kind == DeviceKind::Cpu,
            "train.tf32",
            "TF32 is of NVIDIA's cards; on the CPU the engine `memspec` rounds products to f32",
        ),
        (train.use_cache, "train.use_cache", "the engine `memspec` caches no keys and values while it trains"),
        (
            setup.save.load_best,
            "save.load_best",
            "the engine `memspec` ends with the last step's weights in this version",
        ),
        (setup.save.merge, "save.merge", "the engine `memspec` does not merge adapters in this version"),
        (
            adapter.is_some_and(|adapter| adapter.dtype.is_some_and(|dtype| dtype != adapters)),
            "adapter.dtype",
            "the engine `memspec` keeps adapters in f32, or in bf16 where `precision = bf16_pure`",
        ),
        (
            adapter.is_some_and(|adapter| adapter.vision),
            "adapter.vision",
            "the engine `memspec` runs no vision towers in this version",
        ),
        (setup.data.images > 0, "data.images", "the engine `memspec` takes no images in this version"),
    ]
    .into_iter()
    .find_map(|(asked, setting, what)| asked.then_some((setting, what)))
}
