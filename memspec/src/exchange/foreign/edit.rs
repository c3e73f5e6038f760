//! A change of a plan as edits of the trainer's file that says it.
//!
//! The plan is written in the trainer's keys as it is and as it shall be; the keys that differ are changed in the file, and nothing else of its text.
//! What comes of that is read again: it has to say what was asked for, and whatever else another key says has to be as it was; or there are no edits.

mod sheet;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

use super::write::{Keys, keys, paths, same};
use super::{Note, NoteKind, Trainer, defaults, read};
use crate::plan::{Document, Edit, Plan, Source, Spans, apply};
use sheet::{Change, Sheet};

/// What a trainer's file becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Edited {
    /// The edits of its text: values in their places, lines beside related ones, lines taken out. Comments, order and style stay.
    pub edits: Vec<Edit>,
    /// The plan that it says then: what was asked for, and what follows from the same keys. axolotl's `micro_batch_size` is the batch of
    /// evaluation, too, where that has no key.
    pub plan: Plan,
}

/// Edits another trainer's file so that it says its plan as `change` makes it.
///
/// Nothing comes back where the trainer's keys cannot say that without saying more; nor for a plan of our own.
pub fn edit(document: &Document, change: impl FnOnce(&Plan) -> Option<Plan>) -> Option<Edited> {
    let before = Read::of(document)?;
    let wanted = change(&before.plan)?;
    let (old, _) = keys(&before.plan, before.trainer).ok()?;
    let (new, _) = keys(&wanted, before.trainer).ok()?;
    let edits = Sheet::of(document, before.trainer.format())?.edits(&differing(&old, &new))?;
    let asked = asked(&before.plan, &wanted);
    let plan = before.proven(document, edits.as_slice(), |path| asked.contains(path), &settings(&wanted))?;
    Some(Edited { edits, plan })
}

/// Takes the key out of another trainer's file that says a setting: the trainer's default holds then. Nothing comes back where that changes a setting which
/// another key says.
pub fn remove(document: &Document, path: &str) -> Option<Edited> {
    let before = Read::of(document)?;
    let statement = &before.spans.get(path)?.statement;
    let edits = vec![Sheet::of(document, before.trainer.format())?.removal(statement)?];
    let plan = before.proven(document, &edits, |_| false, &BTreeMap::new())?;
    Some(Edited { edits, plan })
}

/// The keys whose values are others.
fn differing(old: &Keys, new: &Keys) -> Vec<Change> {
    let says = |keys: &Keys, name: &str| keys.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    let here = new.iter().map(|(key, value)| Change { key, old: says(old, key), new: Some(value.clone()) });
    let gone = old.iter().filter(|(key, _)| says(new, key).is_none());
    let gone = gone.map(|(key, value)| Change { key, old: Some(value.clone()), new: None });
    let other = |change: &Change| match (&change.old, &change.new) {
        (Some(old), Some(new)) => !same(old, new),
        _ => true,
    };
    here.chain(gone).filter(other).collect()
}

/// The paths of settings that two plans have otherwise.
fn asked(before: &Plan, wanted: &Plan) -> BTreeSet<String> {
    let own = |plan: &Plan| -> BTreeMap<String, Json> {
        paths(&serde_json::to_value(plan).unwrap_or_default()).into_iter().collect()
    };
    let (before, wanted) = (own(before), own(wanted));
    let all: BTreeSet<String> = before.keys().chain(wanted.keys()).cloned().collect();
    all.into_iter().filter(|path| before.get(path) != wanted.get(path)).collect()
}

/// Every setting of a plan with its value, defaults too.
fn settings(plan: &Plan) -> BTreeMap<String, Json> {
    paths(&serde_json::to_value(defaults::explicit(plan)).unwrap_or_default()).into_iter().collect()
}

/// What a file says, before anything of it is filled in from elsewhere.
struct Read {
    trainer: Trainer,
    plan: Plan,
    spans: Spans,
    notes: Vec<Note>,
    problems: usize,
}

impl Read {
    fn of(document: &Document) -> Option<Self> {
        let trainer = document.foreign.as_ref()?.trainer;
        let mut read = read(document.source.clone(), trainer);
        let written = read.plans.pop()?;
        let problems = read.problems.len();
        Some(Self { trainer, plan: written.plan, spans: written.spans, notes: read.foreign?.notes, problems })
    }

    /// The plan that the edited text says, if that is as it shall be: settings that were asked for as they are `wanted`, any other as before unless it stands
    /// at a key that is edited or at none; and nothing less known than before.
    fn proven(
        &self,
        document: &Document,
        edits: &[Edit],
        asked: impl Fn(&str) -> bool,
        wanted: &BTreeMap<String, Json>,
    ) -> Option<Plan> {
        let text = apply(&document.source.text, edits).filter(|text| *text != document.source.text)?;
        let source = Source { text, ..document.source.clone() };
        let after = Self::of(&Document { source, ..document.clone() })?;
        let (was, is) = (settings(&self.plan), settings(&after.plan));
        let edited = |path: &str| {
            let place = self.spans.get(path).map(|place| place.statement.clone());
            place.is_none_or(|place| edits.iter().any(|edit| place.contains(&edit.range.start)))
        };
        let right = |path: &String| match asked(path) {
            true => is.get(path) == wanted.get(path),
            false => is.get(path) == was.get(path) || edited(path),
        };
        let doubts = |notes: &[Note]| -> BTreeSet<(NoteKind, String)> {
            let doubts = notes.iter().filter(|note| note.kind != NoteKind::Aside);
            doubts.map(|note| (note.kind, note.name.clone())).collect()
        };
        let proven = was.keys().chain(is.keys()).chain(wanted.keys()).all(right)
            && after.problems <= self.problems
            && doubts(&after.notes).is_subset(&doubts(&self.notes));
        proven.then_some(after.plan)
    }
}
