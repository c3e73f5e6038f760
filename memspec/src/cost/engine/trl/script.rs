//! What the scripts around a model do differently.

use crate::plan::{LossKind, Script};

/// Where a script differs from others in what it allocates or keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Differences {
    /// A quantized model's adapters are cast to bf16 (`trl/trainer/sft_trainer.py:880`).
    pub(crate) casts_adapters: bool,
    /// The cache is emptied when training starts (`transformers/trainer.py`, `_inner_training_loop`: `accelerator.free_memory()`).
    pub(crate) frees_cache: bool,
    /// Under autocast outputs are copied to float32 (`accelerate/utils/operations.py`, `ConvertOutputsToFp32`).
    pub(crate) converts_outputs: bool,
    /// `outputs = model(**batch)` lives until the step is over: the logits, and through their graph the embedding's output and its gradient.
    pub(crate) keeps_outputs: bool,
    /// Logits are cut by one token and copied in float32 before cross entropy (`llamafactory/v1/core/base_trainer.py:227`).
    pub(crate) cuts_logits: bool,
    /// What the loss is where the plan does not say.
    pub(crate) loss: LossKind,
}

impl From<Script> for Differences {
    fn from(script: Script) -> Self {
        match script {
            Script::Sft => Self {
                casts_adapters: true,
                frees_cache: true,
                converts_outputs: true,
                keeps_outputs: false,
                cuts_logits: false,
                loss: LossKind::Chunked,
            },
            Script::Loop => Self {
                casts_adapters: false,
                frees_cache: false,
                converts_outputs: false,
                keeps_outputs: true,
                cuts_logits: false,
                loss: LossKind::Whole,
            },
            // Both are transformers' Trainer around PEFT's own adapters.
            Script::Axolotl | Script::Llamafactory => Self {
                casts_adapters: false,
                frees_cache: true,
                converts_outputs: true,
                keeps_outputs: false,
                cuts_logits: false,
                loss: LossKind::Whole,
            },
            // No Trainer and no accelerator around it, and outputs that end with the function that computes the loss.
            Script::LlamafactoryV1 => Self {
                casts_adapters: false,
                frees_cache: false,
                converts_outputs: false,
                keeps_outputs: false,
                cuts_logits: true,
                loss: LossKind::Whole,
            },
        }
    }
}
