//! What several devices cannot do together, with the setting that asks for it.

use crate::cost::CostError;
use crate::model::Family;
use crate::plan::{Attention, LossKind, OptimizerKind, ParallelKind, Precision, QuantizeKind, Script, Storage};
use crate::setup::{Parallel, Setup};

/// Says what the plan's way to share the work refuses, or what is not costed of it.
pub(in crate::cost::engine) fn check(setup: &Setup) -> Result<(), CostError> {
    let Some(parallel) = setup.parallel else { return Ok(()) };
    if parallel.context > 1 {
        context(setup, parallel)?;
    }
    if parallel.load_whole && parallel.kind != ParallelKind::Fsdp2 {
        return refuse("parallel.load_whole", "it says how FSDP's parts are made: `parallel fsdp2`");
    }
    if parallel.world() == 1 {
        return Ok(());
    }
    match parallel.kind {
        ParallelKind::Ddp => Ok(()),
        ParallelKind::Fsdp2 => fsdp2(setup, parallel),
        ParallelKind::Zero1 | ParallelKind::Zero2 | ParallelKind::Zero3 => zero(setup, parallel),
        ParallelKind::Tensor => tensor(setup, parallel),
    }
}

/// Devices that share the tokens of each sample, as LLaMA-Factory's version 1 has them share.
fn context(setup: &Setup, parallel: Parallel) -> Result<(), CostError> {
    let context = u64::from(parallel.context);
    if setup.train.script != Script::LlamafactoryV1 || parallel.kind != ParallelKind::Fsdp2 {
        let what = "samples that devices share are costed under FSDP with `script = llamafactory_v1` alone";
        return refuse("parallel.context", what);
    }
    if !parallel.world().is_multiple_of(context) || !setup.model.heads.is_multiple_of(context) {
        let (world, heads) = (parallel.world(), setup.model.heads);
        let what = format!(
            "{context} devices cannot share each sample: neither {world} devices nor {heads} heads may be left over"
        );
        return Err(CostError::Unsupported { setting: "parallel.context", what });
    }
    if setup.train.attention != Attention::Flash2 {
        // `llamafactory/v1/core/base_trainer.py:149`
        return refuse("train.attention", "devices share samples by FlashAttention alone: `attention = flash2`");
    }
    if setup.model.vision.is_some() || setup.model.experts.is_some() {
        return refuse("parallel.context", "experts and vision towers whose samples devices share are not costed yet");
    }
    Ok(())
}

fn refuse(setting: &'static str, what: &str) -> Result<(), CostError> {
    Err(CostError::Unsupported { setting, what: what.to_owned() })
}

fn fsdp2(setup: &Setup, parallel: Parallel) -> Result<(), CostError> {
    // Measured: "Operator bitsandbytes.optimizer_update_32bit.default does not have a sharding strategy registered", and for Adafactor "aten.add_.Tensor got mixed
    // torch.Tensor and DTensor".
    match setup.train.optimizer {
        OptimizerKind::Adamw | OptimizerKind::AdamwForeach | OptimizerKind::Sgd => {}
        OptimizerKind::Adafactor => {
            return refuse("train.optimizer", "transformers' Adafactor fails on FSDP2's shards: `optimizer = adamw`");
        }
        _ => {
            return refuse("train.optimizer", "bitsandbytes' optimizers fail on FSDP2's shards: `optimizer = adamw`");
        }
    }
    match setup.quantize.as_ref() {
        // `torch/distributed/fsdp/_fully_shard/_fsdp_param.py`, `_init_sharded_param`: `nn.Parameter(shard)`. Measured: "Creating a Parameter from an instance of
        // type Int8Params requires that detach() returns an instance of the same type".
        Some(quantize) if quantize.kind == QuantizeKind::Int8 => {
            refuse("quantize", "FSDP2 cannot shard int8 weights: use nf4, or `parallel ddp`")
        }
        Some(quantize) if quantize.storage == Storage::F32 => {
            refuse("quantize.storage", "FSDP2's mixed precision would cast weights packed in f32: use bf16")
        }
        _ if parallel.offload
            && setup.adapter.is_some()
            && !setup.model.tied_embeddings
            && setup.train.script == Script::Sft
            && setup.train.loss != LossKind::Whole =>
        {
            // `trl/trainer/utils.py:1626` takes the hidden states to where the head's shard is.
            refuse("parallel.offload", "TRL's chunked loss fails on a head that FSDP2 keeps in host memory")
        }
        _ => Ok(()),
    }
}

fn zero(setup: &Setup, parallel: Parallel) -> Result<(), CostError> {
    if !matches!(setup.train.precision, Precision::Bf16 | Precision::Fp16) {
        return refuse("train.precision", "ZeRO is costed with bf16 or fp16, which DeepSpeed casts the model to");
    }
    let adamw = matches!(setup.train.optimizer, OptimizerKind::Adamw | OptimizerKind::AdamwForeach);
    let eight_bit = matches!(setup.train.optimizer, OptimizerKind::Adamw8bit);
    if !(adamw || eight_bit && !parallel.offload) {
        return refuse("train.optimizer", "ZeRO is costed with AdamW alone: `optimizer = adamw`");
    }
    if (setup.model.experts.is_some() || setup.model.vision.is_some()) && parallel.kind == ParallelKind::Zero3 {
        return refuse("parallel", "experts and vision towers under ZeRO 3 are not costed yet: `parallel fsdp2`");
    }
    if setup.quantize.is_some() && parallel.kind == ParallelKind::Zero3 {
        return refuse(
            "quantize",
            "packed weights under ZeRO 3 are not costed yet: `parallel fsdp2`, or `parallel zero2`",
        );
    }
    if !matches!(setup.train.loss, LossKind::Auto | LossKind::Chunked) && parallel.kind == ParallelKind::Zero3 {
        return refuse("train.loss", "under ZeRO 3 TRL's chunked loss is costed");
    }
    Ok(())
}

fn tensor(setup: &Setup, parallel: Parallel) -> Result<(), CostError> {
    if setup.quantize.is_some() {
        // `transformers/distributed/tensor_parallel.py:170`: packed weights stay local for TorchAO and FP8 alone.
        return refuse("quantize", "transformers' tensor parallelism cannot split weights that bitsandbytes packed");
    }
    if setup.adapter.is_some() {
        // PEFT 0.21 asks a linear for `_hf_tp_plan` (`peft/tuners/lora/model.py:307`), which transformers 5.17 does not set, so B gives all columns where the
        // linear gives this rank's: "The size of tensor a must match the size of tensor b".
        return refuse(
            "adapter",
            "PEFT 0.21 does not know the linears that transformers 5.17 splits: train all weights",
        );
    }
    let model = &setup.model;
    let plain = matches!(model.family, Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3);
    if !plain || model.experts.is_some() || model.vision.is_some() {
        return refuse("model", "tensor parallelism is costed for Llama, Mistral, Qwen2 and Qwen3 alone");
    }
    let world = parallel.world();
    if [model.kv_heads, model.heads, model.intermediate].iter().any(|part| !part.is_multiple_of(world)) {
        let (heads, width) = (model.kv_heads, model.intermediate);
        let what = format!("{world} devices cannot share {heads} heads of keys and an MLP of {width} evenly");
        return Err(CostError::Unsupported { setting: "parallel", what });
    }
    if parallel.offload {
        return refuse("parallel.offload", "tensor parallelism has no offload");
    }
    if !matches!(setup.train.loss, LossKind::Auto | LossKind::Chunked) || setup.train.script != Script::Sft {
        return refuse("train.loss", "under tensor parallelism TRL's chunked loss is costed");
    }
    if !matches!(setup.train.optimizer, OptimizerKind::Adamw | OptimizerKind::AdamwForeach) {
        return refuse("train.optimizer", "tensor parallelism is costed with AdamW alone: `optimizer = adamw`");
    }
    Ok(())
}
