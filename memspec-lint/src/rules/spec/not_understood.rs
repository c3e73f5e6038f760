//! # not-understood (SPEC044)
//!
//! ## What it does
//! Finds keys of another trainer's file that are not understood here and may change its memory.
//!
//! ## Why is this bad?
//! The estimate is of a run without them. `memspec-lint convert FILE --to mem` lists every key that has no counterpart, and why.

use memspec::exchange::foreign::NoteKind;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let Some(foreign) = &context.document.foreign else { return Vec::new() };
    let notes = foreign.notes.iter().filter(|note| note.kind == NoteKind::NotUnderstood);
    notes
        .map(|note| {
            let finding = Finding::new(rule, format!("`{}` of {}: {}", note.name, foreign.trainer.title(), note.why))
                .label(note.span.clone().unwrap_or_default(), "not understood");
            match &note.nearest {
                Some(meant) => finding.help(format!("did you mean `{meant}`?")),
                None => finding,
            }
        })
        .collect()
}
