//! # adapter-settings-without-adapter (LOR014)
//!
//! ## What it does
//! Finds settings of LoRA in another trainer's file that does not ask for an adapter: `lora_alpha` in axolotl's without `adapter`, `lora_rank` in
//! LLaMA-Factory's with `finetuning_type: full`, `lora_target_modules` in TRL's without `use_peft`.
//!
//! ## Why is this bad?
//! The trainer passes over them and trains the weights themselves, with the optimizer's states for each: many times the memory that an adapter takes. A plan
//! cannot say this, as its settings are inside the `adapter` block.
//!
//! ## References
//! - axolotl 0.21, `loaders/adapter.py`: `load_adapter`
//! - LLaMA-Factory 0.9.5, `hparams/finetuning_args.py`: `finetuning_type`
//! - TRL 1.15, `trainer/utils.py`: `get_peft_config`

use memspec::exchange::foreign::{Note, NoteKind, Trainer};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Keys that are about an adapter and nothing else.
const KEYS: &[&str] = &[
    "lora_alpha",
    "lora_rank",
    "lora_target",
    "lora_target_linear",
    "lora_target_modules",
    "lora_target_parameters",
    "peft_use_dora",
    "use_dora",
];

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let Some(foreign) = &context.document.foreign else { return Vec::new() };
    let asked = match foreign.trainer {
        Trainer::Axolotl => "adapter: lora",
        Trainer::Llamafactory => "finetuning_type: lora",
        Trainer::Trl => "use_peft: true",
        // Its settings are inside the block that asks for it.
        Trainer::LlamafactoryV1 => return Vec::new(),
    };
    context.each(|plan| {
        if plan.written.plan.adapter.is_some() {
            return None;
        }
        let unused: Vec<&Note> = foreign.notes.iter().filter(|note| is_unused(note)).collect();
        let (first, rest) = unused.split_first()?;
        let message = format!("`{}` has no effect: without `{asked}` no adapter is trained", first.name);
        let finding = Finding::new(rule, message).label(first.span.clone()?, "is passed over");
        let finding =
            rest.iter().filter_map(|note| note.span.clone()).fold(finding, |finding, span| finding.label(span, ""));
        Some(finding.help(format!("add `{asked}`, or remove the settings of the adapter")))
    })
}

fn is_unused(note: &Note) -> bool {
    let off = note.value.as_deref().is_none_or(|value| ["", "false", "null", "~"].contains(&value));
    note.kind == NoteKind::Aside && KEYS.contains(&note.name.as_str()) && !off && note.span.is_some()
}
