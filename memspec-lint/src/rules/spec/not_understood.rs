//! # not-understood (SPEC044)
//!
//! ## What it does
//! Finds keys of another trainer's file that are not understood here and may change its memory, or whose memory is known not to be costed.
//!
//! ## Why is this bad?
//! The estimate is of a run without them. `memspec-lint convert FILE --to mem` lists every key that has no counterpart, and why.
//!
//! ## Fix safety
//! Unsafe: a key that is nearly one of the trainer's is taken for a slip of the pen.

use memspec::exchange::foreign::{self, Note, NoteKind, Trainer};
use memspec::plan::Edit;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Fix;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let Some(foreign) = &context.document.foreign else { return Vec::new() };
    let label = |kind| match kind {
        NoteKind::NotUnderstood => Some("not understood"),
        NoteKind::NotCosted => Some("not costed"),
        _ => None,
    };
    let notes = foreign.notes.iter().filter_map(|note| Some((note, label(note.kind)?)));
    notes
        .map(|(note, label)| {
            let finding = Finding::new(rule, format!("`{}` of {}: {}", note.name, foreign.trainer.title(), note.why))
                .label(note.span.clone().unwrap_or_default(), label);
            match &note.nearest {
                Some(meant) => {
                    finding.help(format!("did you mean `{meant}`?")).fix(renamed(context, foreign.trainer, note, meant))
                }
                None => finding,
            }
        })
        .collect()
}

/// The key under the name that is meant, where the file does not have that.
fn renamed(context: &Context<'_>, trainer: Trainer, note: &Note, meant: &str) -> Option<Fix> {
    let split = |name: &str| {
        let (parent, leaf) = name.rsplit_once('.').unwrap_or(("", name));
        (parent.to_owned(), leaf.to_owned())
    };
    let ((parent, leaf), (other, better)) = (split(&note.name), split(meant));
    let known = parent == other && foreign::known(trainer).any(|key| key.name == meant);
    let written = foreign::written(context.document);
    if !known || written.iter().any(|(name, _)| name == meant) {
        return None;
    }
    let key = &written.iter().find(|(name, _)| *name == note.name)?.1.key;
    let at = key.start + context.text(key.clone()).find(&leaf)?;
    let edit = Edit { range: at..at + leaf.len(), text: better.clone() };
    Some(Fix::risky(format!("replace `{leaf}` with `{better}`"), vec![edit]))
}
