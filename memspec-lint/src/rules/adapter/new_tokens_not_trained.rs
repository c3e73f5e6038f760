//! # new-tokens-not-trained (LOR011)
//!
//! ## What it does
//! Finds words that are added to the vocabulary (`new_tokens`) beside an adapter that leaves the embeddings or the head frozen.
//!
//! ## Why is this bad?
//! A new word begins at about the mean of the others, in the embeddings and in the head, and there it stays: the model can hardly tell two new words
//! apart, and hardly ever says one. axolotl refuses that of its other special tokens and says nothing of `tokens`; LLaMA-Factory trains both modules unless
//! `additional_target` says otherwise; TRL trains what a chat template brings. Words that the vocabulary has already are none of that.
//!
//! ## Example
//! ```mem
//! engine = trl
//! adapter lora { rank = 16 }
//! data { context = 512tok; new_tokens = ["<tool>", "</tool>"] }
//! ```
//!
//! ## Use instead
//! Words that the vocabulary has (many models reserve some: `<|reserved_special_token_0|>`), `train_whole = [embed_tokens, lm_head]` in `adapter`,
//! or PEFT's `trainable_token_indices`, which trains the new rows alone and is not costed.
//! ```mem
//! engine = trl
//! adapter lora { rank = 16 }
//! data { context = 512tok }
//! ```
//!
//! ## References
//! - axolotl 0.21, `loaders/tokenizer.py`: "Please set lora_modules_to_save"
//! - LLaMA-Factory 0.9.5, `model/adapter.py`: "Vocab has been resized"
//! - TRL 1.15, `trainer/sft_trainer.py`: "Ensure that the added tokens are trainable"
//! - transformers 5.24, `modeling_utils.py`: `_get_resized_embeddings`
//! - <https://github.com/artidoro/qlora/issues/214>

use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (setup, frozen) =
            plan.setups().filter(|setup| setup.trains).find_map(|setup| Some((setup, frozen(setup)?)))?;
        let words = match setup.data.new_tokens.as_slice() {
            [] => return None,
            [one] => format!("the row of `{one}`"),
            several => format!("the rows of {} new words", several.len()),
        };
        Some(
            Finding::new(rule, format!("{words} in `{frozen}` stay as they began: the adapter leaves it frozen"))
                .at(plan.written, "data.new_tokens", "not learnt")
                .at(plan.written, "adapter", "trains other modules")
                .help("add `train_whole = [embed_tokens, lm_head]`, or take words that the vocabulary has"),
        )
    })
}

/// The first of the two modules with rows for each word that nothing trains.
fn frozen(setup: &Setup) -> Option<&'static str> {
    let adapter = setup.adapter.as_ref()?;
    let is_trained = |module: &str| adapter.train_whole.iter().chain(&adapter.targets).any(|name| name == module);
    let head = (!setup.model.tied_embeddings).then_some("lm_head");
    [Some("embed_tokens"), head].into_iter().flatten().find(|module| !is_trained(module))
}
