//! The numbers that the program needs, read off a setup once.

use super::super::super::expand::Blocks;
use super::super::super::torch::{AttentionShape, GroupedProduct, Kernel};
use super::super::super::{Block, Stack};
use super::form::Form;
use super::parallel::{Sharing, tensor};
use super::script::Differences;
use super::supported;
use crate::cost::CostError;
use crate::model::{Architecture, Dtype, Family, VisionKind};
use crate::plan::{AdapterKind, Attention, Float, LossKind, OptimizerKind, Precision, QuantizeKind, Script, Upcast};
use crate::setup::Setup;

/// How linears of blocks are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// As the model's type.
    Dense,
    /// bitsandbytes' 4 bit; `double`: its maxima are quantized too.
    Nf4 {
        /// Quantized maxima.
        double: bool,
    },
    /// bitsandbytes' LLM.int8.
    Int8,
}

/// Modules that are trained whole beside an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whole {
    /// The embedding.
    pub(crate) embedding: bool,
    /// The head.
    pub(crate) head: bool,
}

/// The numbers of a run.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// The model.
    pub(crate) model: Architecture,
    /// How its blocks are put together.
    pub(crate) form: Form,
    /// One attention call.
    pub(crate) attention: AttentionShape,
    /// Tokens of a micro batch.
    pub(crate) rows: u64,
    /// Micro batches to an optimizer step.
    pub(crate) accumulate: u32,
    /// All weights are trained.
    pub(crate) full: bool,
    /// Type of weights that are not packed.
    pub(crate) dtype: Dtype,
    /// Type that autocast computes in; `None`: no autocast.
    pub(crate) autocast: Option<Dtype>,
    /// How linears are stored.
    pub(crate) stored: Stored,
    /// Type that 4 bit weights are unpacked to.
    pub(crate) compute: Dtype,
    /// What is cast to float32 once the model is loaded.
    pub(crate) upcast: Upcast,
    /// What the script around the model does differently.
    pub(crate) script: Differences,
    /// Leaf names of linears that are not packed.
    pub(crate) skip: Vec<String>,
    /// Inner dimension of adapters.
    pub(crate) rank: u64,
    /// An adapter's product is scaled by another number than 1.
    pub(crate) scaled: bool,
    /// Leaf names of adapted linears.
    pub(crate) targets: Vec<String>,
    /// Which of the experts' parameters are adapted.
    pub(crate) expert_targets: ExpertTargets,
    /// The vision tower's linears are adapted too.
    pub(crate) adapt_vision: bool,
    /// Type of adapters once the trainer is built.
    pub(crate) adapter_dtypes: Vec<Dtype>,
    /// A part of the adapters' input is dropped.
    pub(crate) dropout: bool,
    /// Adapters have a trained magnitude.
    pub(crate) dora: bool,
    /// What is trained whole beside adapters.
    pub(crate) whole: Whole,
    /// Samples of several documents lie in one row.
    pub(crate) packed: bool,
    /// A micro batch has samples that are filled up.
    pub(crate) padded: bool,
    /// Blocks are checkpointed.
    pub(crate) checkpointing: bool,
    /// Scores exist as tensors.
    pub(crate) eager: bool,
    /// FlashAttention's own kernels, not PyTorch's choice.
    pub(crate) flash: bool,
    /// Liger's norms, RoPE and SwiGLU.
    pub(crate) liger: bool,
    /// The same for a frozen copy of the model that the loss compares with.
    pub(crate) reference: Option<Box<Shape>>,
    /// How logits and loss are formed.
    pub(crate) loss: LossKind,
    /// The optimizer.
    pub(crate) optimizer: OptimizerKind,
    /// Bytes of one cuBLAS workspace.
    pub(crate) workspace: u64,
    /// Multiprocessors of the card.
    pub(crate) multiprocessors: u64,
    /// What a micro batch shows the vision tower.
    pub(crate) images: Images,
    /// How devices share the run.
    pub(crate) sharing: Sharing,
    /// Devices share the tokens of each sample.
    pub(crate) shares_samples: bool,
    /// The same for a batch of the evaluation, where there is one.
    pub(crate) evaluation: Option<Box<Shape>>,
    /// The adapter is merged into the base when training is over.
    pub(crate) merge: bool,
    /// Experts are packed like the linears.
    pub(crate) packs_experts: bool,
    /// Who computes the experts' products.
    pub(crate) grouped: GroupedProduct,
    /// The routers' logits are collected for an auxiliary loss.
    pub(crate) balanced: bool,
}

/// What a micro batch shows a vision tower: images of one size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Images {
    /// How many.
    pub(crate) count: u64,
    /// Patches of all of them.
    pub(crate) patches: u64,
    /// Patches of each window of one image.
    pub(crate) windows: Vec<u64>,
}

/// Which of a mixture of experts' parameters are adapted, by how many ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExpertTargets {
    /// PEFT takes the names of an MLP's linears for those of the experts.
    pub(crate) renamed: bool,
    /// The router's weight.
    pub(crate) router: bool,
    /// Ranks of gate and up; two where they were named apart (`peft/utils/transformers_weight_conversion.py:472`).
    pub(crate) gate_up: u64,
    /// Ranks of down.
    pub(crate) down: u64,
}

impl ExpertTargets {
    fn new(model: &Architecture, targets: &[String]) -> Self {
        let has = |name: &str| targets.iter().any(|target| target == name);
        let once = |name: &str| u64::from(has(name));
        let Some([router, gate, up, down]) = model.expert_names() else {
            let [gate_up, down] = [once("experts.gate_up_proj"), once("experts.down_proj")];
            return Self { gate_up, down, ..Self::default() };
        };
        Self {
            renamed: true,
            router: has(router),
            gate_up: (once(gate) + once(up)).max(once("experts.gate_up_proj")),
            down: once(down).max(once("experts.down_proj")),
        }
    }
}

impl Shape {
    /// Reads a setup.
    ///
    /// # Errors
    /// What the engine does not cost.
    pub(crate) fn new(setup: &Setup) -> Result<Self, CostError> {
        supported::check(setup)?;
        let sharing = Sharing::new(setup);
        let model = match sharing {
            Sharing::Tensor { world } => tensor::local(&setup.model, world),
            _ => setup.model.clone(),
        };
        let (samples, length) = setup.largest_batch();
        let context = setup.parallel.map_or(1, |parallel| u64::from(parallel.context));
        // Filled up to as many tokens for each (`llamafactory/v1/plugins/model_plugins/parallelization/sequence_parallel.py:140`).
        let length = length.div_ceil(context);
        // Packed samples lie in one row (`trl/trainer/sft_trainer.py:190`, `padding_free`).
        let packed = setup.data.packing;
        let (batch, tokens) = if packed { (1, samples * length) } else { (samples, length) };
        let full = setup.adapter.is_none();
        let precision = setup.train.precision;
        let stored = match setup.quantize.as_ref().map(|quantize| (quantize.kind, quantize.double)) {
            Some((QuantizeKind::Int8, _)) => Stored::Int8,
            Some((_, double)) => Stored::Nf4 { double },
            None => Stored::Dense,
        };
        let script = Differences::from(setup.train.script);
        let loss = if setup.train.loss == LossKind::Auto { script.loss } else { setup.train.loss };
        let zero = matches!(sharing, Sharing::Zero(_));
        let training = Self {
            attention: AttentionShape {
                batch,
                tokens,
                heads: model.heads,
                kv_heads: model.kv_heads,
                head_dim: model.head_dim,
                softcap: model.attention_softcap.is_some(),
                kernel: kernel(setup),
            },
            form: Form::of(&model),
            rows: batch * tokens,
            // The first micro batch makes the gradients, the last one ends the step; all between are alike.
            accumulate: setup.train.accumulate.min(3),
            full,
            dtype: match precision {
                // `zero.Init` makes parameters in DeepSpeed's type.
                _ if let Some(zero) = sharing.loads_in_parts() => zero.half,
                _ if let Some(loaded) = setup.train.base_dtype => float(loaded),
                // A full fine-tune holds float32 weights, under autocast too.
                Precision::Bf16 | Precision::Fp16 | Precision::F32 if full => Dtype::F32,
                Precision::Fp16 | Precision::Fp16Pure => Dtype::F16,
                _ => Dtype::Bf16,
            },
            autocast: match precision {
                // DeepSpeed's engine casts the model instead.
                _ if zero => None,
                Precision::Bf16 => Some(Dtype::Bf16),
                Precision::Fp16 => Some(Dtype::F16),
                Precision::F32 | Precision::Bf16Pure | Precision::Fp16Pure => None,
            },
            stored,
            compute: setup.quantize.as_ref().map_or(Dtype::Bf16, |quantize| float(quantize.compute)),
            upcast: setup.train.upcast,
            script,
            skip: setup.quantize.as_ref().map_or_else(Vec::new, |quantize| quantize.skip.clone()),
            scaled: setup.adapter.as_ref().is_some_and(|adapter| adapter.alpha != f64::from(adapter.rank)),
            expert_targets: setup
                .adapter
                .as_ref()
                .map_or_else(ExpertTargets::default, |adapter| ExpertTargets::new(&model, &adapter.targets)),
            packs_experts: setup.quantize.as_ref().is_some_and(|quantize| quantize.experts),
            grouped: grouped(setup),
            balanced: balanced(&model) && setup.train.script == Script::Sft,
            rank: setup.adapter.as_ref().map_or(0, |adapter| u64::from(adapter.rank)),
            targets: setup.adapter.as_ref().map_or_else(Vec::new, |adapter| adapter.targets.clone()),
            adapt_vision: setup.adapter.as_ref().is_some_and(|adapter| adapter.vision),
            adapter_dtypes: adapter_dtypes(setup, stored, script),
            dropout: setup.adapter.as_ref().is_some_and(|adapter| adapter.dropout > 0.0),
            dora: setup.adapter.as_ref().is_some_and(|adapter| adapter.kind == AdapterKind::Dora),
            whole: Whole { embedding: setup.trains_whole("embed_tokens"), head: setup.trains_whole("lm_head") },
            packed,
            padded: setup.fills_samples(),
            checkpointing: setup.recomputed_blocks() > 0,
            eager: setup.train.attention == Attention::Eager,
            flash: matches!(setup.train.attention, Attention::Flash2 | Attention::Flash3),
            liger: setup.train.liger,
            loss,
            optimizer: setup.train.optimizer,
            workspace: setup.device.workspace_bytes(),
            multiprocessors: multiprocessors(setup),
            images: Images::new(setup, batch),
            sharing,
            shares_samples: context > 1,
            evaluation: None,
            reference: None,
            merge: setup.save.merge && setup.adapter.is_some(),
            model,
        };
        let reference = (loss == LossKind::Asft).then(|| Box::new(training.frozen(setup)));
        let training = Self { reference, ..training };
        let evaluation =
            setup.evaluation_batch().map(|(samples, tokens)| Box::new(training.evaluating(samples, tokens, setup)));
        Ok(Self { evaluation, ..training })
    }

    /// A frozen copy of this run's model, in the type of compute (`llamafactory/model/loader.py`, `load_model`).
    fn frozen(&self, setup: &Setup) -> Self {
        Self {
            full: false,
            dtype: float(setup.train.precision.half()),
            checkpointing: false,
            dropout: false,
            targets: Vec::new(),
            sharing: Sharing::Alone,
            ..self.clone()
        }
    }

    /// This run's evaluation: a batch of its own, and no checkpoints, which are for training (`transformers/modeling_layers.py`,
    /// `GradientCheckpointingLayer.__call__`).
    fn evaluating(&self, samples: u64, tokens: u64, setup: &Setup) -> Self {
        let (batch, length) = if self.packed { (1, samples * tokens) } else { (samples, tokens) };
        Self {
            attention: AttentionShape { batch, tokens: length, ..self.attention },
            rows: samples * tokens,
            padded: setup.fills_batch(samples),
            dropout: false,
            checkpointing: false,
            images: Images::new(setup, samples),
            reference: self.reference.as_ref().map(|frozen| Box::new(frozen.evaluating(samples, tokens, setup))),
            ..self.clone()
        }
    }

    /// Linears are packed.
    pub(crate) fn quantized(&self) -> bool {
        self.stored != Stored::Dense
    }

    /// How many blocks each stack has.
    pub(crate) fn blocks(&self) -> Blocks {
        Blocks { text: self.model.layers, vision: self.model.vision.as_ref().map_or(0, |vision| vision.layers) }
    }

    /// How many things there are in the whole model, where these are those of a few blocks.
    pub(crate) fn in_full(&self, places: &[Option<Block>]) -> u64 {
        let all = self.blocks();
        let outside = places.iter().filter(|place| place.is_none()).count() as u64;
        // A program has the first blocks of a stack, up to the last one listed.
        let widen = |stack, all: u64| {
            let listed = || places.iter().flatten().filter(|block| block.stack == stack);
            let programmed = listed().map(|block| u64::from(block.index) + 1).max().unwrap_or(1);
            listed().count() as u64 * all / programmed
        };
        outside + widen(Stack::Text, all.text) + widen(Stack::Vision, all.vision)
    }

    /// Sliding layers need a bool mask of all pairs: a window that the samples reach (`transformers/masking_utils.py:262`: the causal shortcut is
    /// lost).
    pub(crate) fn window_mask(&self) -> bool {
        self.model.family != Family::GptOss
            && self.model.sliding_window.is_some_and(|window| self.attention.tokens >= window)
    }

    /// They need one that keeps samples apart: PyTorch's attention has none of its own for several documents in a row, or for samples that are filled
    /// up (`transformers/masking_utils.py`, `_ignore_causal_mask_sdpa`). FlashAttention takes where they begin instead.
    pub(crate) fn sample_mask(&self) -> bool {
        (self.packed || self.padded) && !self.flash
    }

    /// Tokens of one image see each other (Gemma 3), so that all layers have a mask.
    pub(crate) fn sees_both_ways(&self) -> bool {
        let gemma = self.model.vision.as_ref().is_some_and(|vision| vision.kind == VisionKind::Gemma3);
        gemma && self.images.count > 0
    }

    /// Which layers slide.
    pub(crate) fn slides(&self) -> Slides {
        let sliding = (0..self.model.layers).filter(|layer| self.model.slides(*layer)).count() as u64;
        match sliding {
            0 => Slides::None,
            all if all == self.model.layers => Slides::All,
            _ => Slides::Some,
        }
    }

    /// The tower's blocks, and what they leave to the decoder's, are alike: none sees windows while another sees all, none has a merger of its own.
    fn tower_repeats(&self) -> bool {
        let kind = self.model.vision.as_ref().filter(|_| self.images.count > 0).map(|vision| &vision.kind);
        !matches!(kind, Some(VisionKind::Qwen25Vl { .. } | VisionKind::Qwen3Vl { .. }))
    }

    /// All blocks allocate alike and hold the same tables, so that few stand for all.
    pub(crate) fn repeats(&self) -> bool {
        let kind = |layer| {
            let slides = self.model.slides(layer);
            let masked = !self.eager && !self.sample_mask() && self.window_mask() && slides;
            (self.form.rotates(&self.model, layer), masked, self.form.own_tables && slides)
        };
        self.sharing.repeats() && self.tower_repeats() && (1..self.model.layers).all(|layer| kind(layer) == kind(0))
    }
}

/// Which layers see only a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slides {
    /// None.
    None,
    /// Some.
    Some,
    /// All.
    All,
}

/// `_can_use_grouped_mm` (`transformers/integrations/moe.py:262`), and below it whether PyTorch's kernel takes the weights.
fn grouped(setup: &Setup) -> GroupedProduct {
    let bf16 = setup.adapter.is_some() || setup.train.precision == Precision::Bf16Pure;
    match setup.device.compute_capability {
        Some((major, _)) if major < 8 => GroupedProduct::Custom,
        Some((9 | 10, _)) if bf16 && setup.train.precision != Precision::Fp16 => GroupedProduct::Kernel,
        _ => GroupedProduct::Loop,
    }
}

/// The model's config has `output_router_logits`, and a coefficient for the auxiliary loss (`transformers/models/*/configuration_*.py`).
fn balanced(model: &Architecture) -> bool {
    let families = [Family::Mixtral, Family::Qwen2Moe, Family::Qwen3Moe, Family::GptOss, Family::MinimaxM2];
    families.contains(&model.family) && model.vision.is_none()
}

/// The types that adapters take one after the other: PEFT makes them float32 (`peft/tuners/tuners_utils.py`, `autocast_adapter_dtype`); on a
/// quantized model TRL casts them to bf16 (`trl/trainer/sft_trainer.py:880`), which a float16 run has to undo for its gradient scaler.
fn adapter_dtypes(setup: &Setup, stored: Stored, script: Differences) -> Vec<Dtype> {
    let mut dtypes = vec![Dtype::F32];
    if stored != Stored::Dense && script.casts_adapters {
        dtypes.push(Dtype::Bf16);
        if setup.train.precision == Precision::Fp16 {
            dtypes.push(Dtype::F32);
        }
    }
    let wished = setup.adapter.as_ref().and_then(|adapter| adapter.dtype).map(float);
    if let Some(wished) = wished.filter(|wished| dtypes.last() != Some(wished)) {
        dtypes.push(wished);
    }
    dtypes
}

fn float(float: Float) -> Dtype {
    match float {
        Float::F32 => Dtype::F32,
        Float::Bf16 => Dtype::Bf16,
        Float::Fp16 => Dtype::F16,
    }
}

/// The fused attention of the card.
fn kernel(setup: &Setup) -> Kernel {
    match (setup.train.attention, setup.device.compute_capability) {
        (Attention::Efficient, _) => Kernel::EfficientRepeated,
        (_, Some(level)) if level < (8, 0) => Kernel::Efficient,
        _ => Kernel::Ampere,
    }
}

/// Multiprocessors of the largest card of a generation (NVIDIA's architecture papers); how large a sum's staging buffer is hangs on it.
fn multiprocessors(setup: &Setup) -> u64 {
    match setup.device.compute_capability {
        Some((7, 0)) => 80,
        Some((7, 5)) => 40,
        Some((8, 0)) => 108,
        Some((8, 9)) => 128,
        Some((8, _)) => 84,
        Some((10, _)) => 148,
        Some((12, _)) => 170,
        _ => 132,
    }
}

impl Images {
    /// Those of a batch of so many samples.
    fn new(setup: &Setup, samples: u64) -> Self {
        let (Some(vision), Some(size)) = (&setup.model.vision, setup.data.image_size) else { return Self::default() };
        let count = u64::from(setup.data.images) * samples;
        // An image that the processor refuses was refused before (`supported`).
        let windows = vision.windows(u64::from(size.width), u64::from(size.height)).unwrap_or_default();
        Self { count, patches: count * windows.iter().sum::<u64>(), windows }
    }
}
