//! What another trainer's file says beside its plan, as text.

use std::fmt::Write as _;

use memspec::exchange::foreign::{Note, NoteKind};
use memspec::plan::Source;

/// The notes under their headings; of those that change nothing, names that have the same reason share a line.
pub(super) fn list(notes: &[Note], source: &Source) -> String {
    let mut text = String::new();
    for kind in [NoteKind::NotUnderstood, NoteKind::NotCosted, NoteKind::Lost, NoteKind::Difference, NoteKind::Assumed]
    {
        let mut of_kind = notes.iter().filter(|note| note.kind == kind).peekable();
        if of_kind.peek().is_some() {
            let _ = writeln!(text, "{}:", kind.heading());
        }
        for note in of_kind {
            let value = note.value.as_ref().map(|value| format!(": {value}")).unwrap_or_default();
            let line = note.span.as_ref().map(|span| format!(" (line {})", source.position(span.start).0));
            let nearest = note.nearest.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let _ = writeln!(text, "  {}{value}{}: {}{nearest}", note.name, line.unwrap_or_default(), note.why);
        }
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for note in notes.iter().filter(|note| note.kind == NoteKind::Aside) {
        match reasons.iter_mut().find(|(why, _)| *why == note.why) {
            Some((_, names)) => names.push(&note.name),
            None => reasons.push((&note.why, vec![&note.name])),
        }
    }
    if !reasons.is_empty() {
        let _ = writeln!(text, "{}:", NoteKind::Aside.heading());
    }
    for (why, names) in reasons {
        let _ = writeln!(text, "  {}: {why}", names.join(", "));
    }
    text
}
