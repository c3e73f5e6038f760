//! What trainers whose runs nobody measured do otherwise than the one whose runs were: `train.script` with the engine `trl`.
//!
//! Each difference is read from the trainer's source. Those that are costed are in the estimate; the others are why its interval is wide.

use serde::Serialize;

use crate::plan::{ParallelKind, Script};
use crate::setup::Setup;

/// Something that a trainer does otherwise than TRL's SFTTrainer and that changes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Difference {
    /// Its name, in one or two words.
    pub name: &'static str,
    /// What the trainer does.
    pub what: &'static str,
    /// Where its source says so.
    pub source: &'static str,
    /// The estimate has it; else it is among the reasons for a wide interval.
    pub costed: bool,
    /// Which runs it concerns.
    #[serde(skip)]
    with: With,
}

/// Which runs something concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum With {
    Any,
    Adapter,
    Quantized,
    Packing,
    NoPacking,
    Checkpoints,
    Fsdp,
    Liger,
    /// All weights of a model with a tower are trained.
    Tower,
}

/// How the run's trainer differs from TRL's; none where runs of it were measured.
pub fn differences(setup: &Setup) -> Vec<Difference> {
    let concerns = |difference: &&Difference| match difference.with {
        With::Any => true,
        With::Adapter => setup.adapter.is_some(),
        With::Quantized => setup.quantize.is_some(),
        With::Packing => setup.data.packing,
        With::NoPacking => !setup.data.packing,
        With::Fsdp => setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Fsdp2),
        With::Liger => setup.train.liger,
        With::Checkpoints => setup.recomputed_blocks() > 0,
        With::Tower => setup.adapter.is_none() && setup.model.vision.is_some(),
    };
    of(setup.train.script).iter().filter(concerns).copied().collect()
}

/// All of a trainer's.
pub(crate) fn of(script: Script) -> &'static [Difference] {
    match script {
        Script::Sft | Script::Loop => &[],
        Script::Axolotl => AXOLOTL,
        Script::Llamafactory => LLAMAFACTORY,
        Script::LlamafactoryV1 => LLAMAFACTORY_V1,
    }
}

const fn costed(name: &'static str, what: &'static str, source: &'static str) -> Difference {
    Difference { name, what, source, costed: true, with: With::Any }
}

const fn beside(name: &'static str, what: &'static str, source: &'static str) -> Difference {
    Difference { name, what, source, costed: false, with: With::Any }
}

impl Difference {
    const fn with(self, with: With) -> Self {
        Self { with, ..self }
    }
}

/// axolotl 0.21.0, below `src/axolotl`.
const AXOLOTL: &[Difference] = &[
    costed(
        "loss",
        "transformers' own, with all logits at once in float32, unless Liger, cut cross entropy or chunks are asked for",
        "core/trainers/base.py:809",
    ),
    costed(
        "casts",
        "weights are loaded in the type of compute, also where all are trained; adapters stay float32",
        "utils/config/__init__.py:155, loaders/model.py:959",
    ),
    costed("double quantization", "NF4 always has it, and is stored as bf16", "loaders/model.py:1063")
        .with(With::Quantized),
    costed(
        "packing",
        "the samples of a micro batch are one row, filled up to its whole length",
        "utils/schemas/validation.py:461",
    )
    .with(With::Packing),
    beside(
        "kernels",
        "its LoRA kernels are on where they can be, and keep less for the backward pass",
        "utils/schemas/validation.py:92, kernels/lora.py:366",
    )
    .with(With::Adapter),
    beside(
        "loading",
        "what is not packed of a quantized model is cast to float32 and back while it is loaded",
        "loaders/model.py:1441",
    )
    .with(With::Quantized),
    beside(
        "padding",
        "without packing, samples are filled up to a multiple of 64 tokens",
        "core/builders/causal.py:395",
    )
    .with(With::NoPacking),
];

/// LLaMA-Factory 0.9.5, below `src/llamafactory`.
const LLAMAFACTORY: &[Difference] = &[
    costed(
        "loss",
        "transformers' own, with all logits at once in float32; Liger's fused one with `enable_liger_kernel`",
        "train/sft/trainer.py:151, model/model_utils/liger_kernel.py:94",
    ),
    costed("casts", "what is trained is float32, unless `pure_bf16` is asked for", "model/adapter.py:313"),
    costed(
        "double quantization",
        "NF4 has it by default, and is stored in the type of compute",
        "model/model_utils/quantization.py:172",
    )
    .with(With::Quantized),
    beside(
        "packing",
        "the samples of a micro batch are rows of their own, each filled up; `neat_packing` has a mask of all pairs",
        "data/processor/supervised.py:118, data/collator.py:524",
    )
    .with(With::Packing),
    beside(
        "frozen parts",
        "a vision tower and its projector are not trained with the rest: they are costed as if they were",
        "model/adapter.py:47, model/model_utils/visual.py:173",
    )
    .with(With::Tower),
    beside(
        "checkpointing",
        "blocks are recomputed by reentrant checkpoints, which keep their inputs a little longer",
        "model/model_utils/checkpointing.py:175",
    )
    .with(With::Checkpoints),
    beside("padding", "samples are filled up to a multiple of 8 tokens", "train/sft/workflow.py:65")
        .with(With::NoPacking),
];

/// LLaMA-Factory 0.9.5 with `USE_V1=1`, below `src/llamafactory/v1`.
const LLAMAFACTORY_V1: &[Difference] = &[
    costed(
        "loss",
        "the model's own with all logits at once, and beside it log-probabilities from two more copies of them in float32",
        "core/base_trainer.py:225",
    ),
    costed(
        "casts",
        "weights that are all trained are cast to float32, and without FSDP or DeepSpeed also computed in it: there is no autocast",
        "core/model_engine.py:179, plugins/trainer_plugins/distributed/fsdp2.py:178",
    ),
    costed(
        "double quantization",
        "NF4 has it by default; weights are unpacked to float16, and no norm is cast",
        "plugins/model_plugins/quantization.py:99",
    )
    .with(With::Quantized),
    costed("loading", "each card has the whole model before FSDP takes its part", "core/model_engine.py:120")
        .with(With::Fsdp),
    beside(
        "reduction",
        "gradients are summed in float32, and the head is gathered with all that is in no block",
        "plugins/trainer_plugins/distributed/fsdp2.py:179",
    )
    .with(With::Fsdp),
    beside(
        "kernels",
        "Liger's cross entropy writes gradients where the logits were: PyTorch's is costed",
        "plugins/model_plugins/kernels/liger_kernel_ops.py:138",
    )
    .with(With::Liger),
    beside(
        "packing",
        "as many samples as there are tokens for: a row is rarely full",
        "plugins/trainer_plugins/batching.py:87",
    )
    .with(With::Packing),
];
