//! # pad-equals-eos (TOK001)
//!
//! ## What it does
//! Finds a `pad_token` that is the `eos_token`, where samples with images are trained on by axolotl or Unsloth.
//!
//! ## Why is this bad?
//! Their collators for images leave out of the loss every token that looks like the one that fills samples up. Where that is the token that ends an
//! answer, no end is learnt: the model answers and does not stop. Collators for texts (TRL's, axolotl's, LLaMA-Factory's), and TRL's for images,
//! leave out what was filled up by its place: there it does no harm.
//!
//! ## Example
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data {
//!   context    = 2048tok
//!   images     = 1
//!   image_size = "512x512"
//!   eos_token  = "<|im_end|>"
//!   pad_token  = "<|im_end|>"
//! }
//! train { script = axolotl }
//! ```
//!
//! ## Use instead
//! ```mem
//! model  = "Qwen/Qwen2-VL-7B-Instruct"
//! device = "a100-80"
//! engine = trl
//! data {
//!   context    = 2048tok
//!   images     = 1
//!   image_size = "512x512"
//!   eos_token  = "<|im_end|>"
//!   pad_token  = "<|endoftext|>"
//! }
//! train { script = axolotl }
//! ```
//!
//! ## References
//! - axolotl 0.21, `processing_strategies.py`: `ProcessingStrategy.process_labels`
//! - unsloth_zoo 2026.10, `pad_token.py`, and `vision_utils.py`: `get_padding_tokens_ids`
//! - TRL 1.15, `trainer/sft_trainer.py`: `DataCollatorForLanguageModeling`, `DataCollatorForVisionLanguageModeling`
//! - <https://github.com/unslothai/unsloth/issues/416>

use memspec::exchange::foreign::NoteKind;
use memspec::plan::{EngineName, Script};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    // A file may say that samples have images, and not how many.
    let foreign = context.document.foreign.iter().flat_map(|foreign| &foreign.notes);
    let some_images = foreign.into_iter().any(|note| note.kind == NoteKind::Assumed && note.name == "data.images");
    context.each(|plan| {
        let setup = plan.find(|setup| {
            let by_token = setup.engine == EngineName::Unsloth || setup.train.script == Script::Axolotl;
            let end = setup.data.eos_token.as_ref();
            by_token && (setup.data.images > 0 || some_images) && end.is_some() && end == setup.data.pad_token.as_ref()
        })?;
        let end = setup.data.eos_token.as_deref()?;
        Some(
            Finding::new(rule, format!("the loss leaves out `{end}`, which also fills samples up: no end is learnt"))
                .at(plan.written, "data.pad_token", "is left out of the loss")
                .at(plan.written, "data.eos_token", "and so is this")
                .help("fill up with a token of the vocabulary that nothing else uses: `<|endoftext|>`, `<pad>`, or a reserved one"),
        )
    })
}
