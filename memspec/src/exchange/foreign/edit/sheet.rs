//! Changes of a mapping's keys in its text, in the text's own style: a value in its place, a new key beside one that is related, a key taken out.

use std::ops::Range;

use serde_yaml::{Mapping, Value as Yaml};

use super::super::table::Format;
use super::super::write::same;
use super::super::yaml_text;
use crate::exchange::yaml::{Places, parse};
use crate::plan::{Document, Edit, Place};

/// A key whose value shall be another.
pub(super) struct Change {
    pub(super) key: &'static str,
    /// As the plan has it now, which need not be all that the file says.
    pub(super) old: Option<Yaml>,
    /// From now on; none, and the key is taken out.
    pub(super) new: Option<Yaml>,
}

/// The text of a trainer's file.
pub(super) struct Sheet<'a> {
    text: &'a str,
    format: &'static Format,
    root: Mapping,
    places: Places,
    json: bool,
}

impl<'a> Sheet<'a> {
    pub(super) fn of(document: &'a Document, format: &'static Format) -> Option<Self> {
        let text = document.source.text.as_str();
        let Ok(Yaml::Mapping(root)) = parse(text) else { return None };
        Some(Self { text, format, root, places: Places::of(text), json: document.source.name.ends_with(".json") })
    }

    /// The edits that make all changes; none where the text would lose a comment with a value.
    pub(super) fn edits(&self, changes: &[Change]) -> Option<Vec<Edit>> {
        let wanted: Vec<(&'static str, Option<&'static str>, Option<Yaml>)> =
            changes.iter().map(|change| (change.key, self.actual(change.key), self.wanted(change))).collect();
        let removed: Vec<&str> =
            wanted.iter().filter(|(.., value)| value.is_none()).filter_map(|(_, name, _)| *name).collect();
        let mut edits = Vec::new();
        let mut begun: Vec<&str> = Vec::new();
        for (key, name, value) in &wanted {
            match (name, value) {
                (Some(name), Some(value)) if self.at(name).is_some_and(|old| same(old, value)) => {}
                (Some(name), Some(value)) => edits.push(self.replacement(name, value)?),
                (None, Some(value)) => edits.push(self.insertion(key, value, &removed, &mut begun)?),
                (_, None) => {}
            }
        }
        for name in &removed {
            edits.push(self.out(name, &removed)?);
        }
        edits.dedup();
        Some(edits)
    }

    /// The value that the file shall have. A list may hold more than a plan knows of, such as plugins: that stays.
    fn wanted(&self, change: &Change) -> Option<Yaml> {
        let items = |value: &Option<Yaml>| value.as_ref().and_then(Yaml::as_sequence).cloned().unwrap_or_default();
        let written = self.actual(change.key).and_then(|name| self.at(name)).and_then(Yaml::as_sequence);
        let (old, new) = (items(&change.old), items(&change.new));
        let Some(written) = written.filter(|written| **written != old && (!old.is_empty() || !new.is_empty())) else {
            return change.new.clone();
        };
        let stays = written.iter().filter(|item| !old.contains(item) || new.contains(item)).cloned();
        let mut list: Vec<Yaml> = stays.collect();
        for item in new {
            if !list.contains(&item) {
                list.push(item);
            }
        }
        (!list.is_empty()).then_some(Yaml::Sequence(list))
    }

    /// Takes the key out that this statement is.
    pub(super) fn removal(&self, statement: &Range<usize>) -> Option<Edit> {
        let known = self.format.keys.iter().map(|key| key.name).filter(|name| self.at(name).is_some());
        let name = known.into_iter().find(|name| self.places.place(name).statement == *statement)?;
        self.out(name, &[name])
    }

    /// The key as the file writes it, under its name or a former one.
    fn actual(&self, key: &str) -> Option<&'static str> {
        self.format.names(key).find(|name| self.at(name).is_some())
    }

    fn at(&self, name: &str) -> Option<&Yaml> {
        let mut parts = name.split('.');
        let first = self.root.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_mapping()?.get(part))
    }

    /// Another value in its place.
    fn replacement(&self, name: &str, value: &Yaml) -> Option<Edit> {
        let Place { key, value: old, .. } = self.places.place(name);
        let colon = key.end + self.text.get(key.end..)?.find(':')? + 1;
        let written = self.text.get(old.clone())?;
        let apart = self.text.get(colon..old.start).is_none_or(|between| between.contains('\n'));
        let (range, text) = match value {
            Yaml::Sequence(items) if !items.is_empty() && written.starts_with('-') => {
                let indent = " ".repeat(old.start - self.line_start(old.start));
                let items: Vec<String> = items.iter().map(|item| format!("- {}", self.inline(item))).collect();
                (old, items.join(&format!("{}{indent}", self.newline())))
            }
            // a list in lines becomes one value, or nothing was there
            value if apart || written.is_empty() => (colon..old.end.max(colon), format!(" {}", self.inline(value))),
            value => (old, self.quoted(value, written)),
        };
        // a comment in it would be lost
        (!self.text.get(range.clone())?.contains(" #")).then_some(Edit { range, text })
    }

    /// A new key behind one that is related. `begun`: the mappings that others began to write.
    fn insertion(
        &self,
        key: &'static str,
        value: &Yaml,
        removed: &[&str],
        begun: &mut Vec<&'static str>,
    ) -> Option<Edit> {
        let (parent, leaf) = key.rsplit_once('.').unwrap_or(("", key));
        let inner = if parent.is_empty() { Some(&self.root) } else { self.at(parent).and_then(Yaml::as_mapping) };
        if let Some(anchor) = inner.and_then(|_| self.related(key, parent, removed)) {
            let flow = self.is_flow(parent);
            return self.beside(&self.places.place(&anchor), flow, leaf, |_| self.inline(value));
        }
        // the mapping is new, too: its first key brings it, the others follow
        let anchor = self.places.place(&self.related(parent, "", removed)?);
        let first = !begun.contains(&parent);
        begun.push(parent);
        if parent.contains('.') || self.is_flow("") || self.at(parent).is_some() {
            return None;
        }
        let indent = self.indent(&anchor);
        let inside = format!("{}{indent}  {leaf}: {}", self.newline(), self.inline(value));
        let text = if first { format!("{}{indent}{parent}:{inside}", self.newline()) } else { inside };
        let at = self.line_end(anchor.statement.end);
        Some(Edit { range: at..at, text })
    }

    /// A member behind another.
    fn beside(&self, anchor: &Place, flow: bool, leaf: &str, value: impl Fn(&str) -> String) -> Option<Edit> {
        let indent = self.indent(anchor);
        let alone = self.text.get(self.line_start(anchor.key.start)..anchor.key.start)?.trim().is_empty();
        let quoted = self.text.get(anchor.key.clone())?.starts_with('"');
        let leaf = if quoted { format!("\"{leaf}\"") } else { leaf.to_owned() };
        let line = format!("{leaf}: {}", value(&indent));
        let (at, text) = match (flow, alone) {
            (true, true) => (self.end(anchor), format!(",{}{indent}{line}", self.newline())),
            (true, false) => (self.end(anchor), format!(", {line}")),
            (false, true) => (self.line_end(self.end(anchor)), format!("{}{indent}{line}", self.newline())),
            (false, false) => return None,
        };
        Some(Edit { range: at..at, text })
    }

    /// The key of a mapping that stands nearest before one in the trainer's table, or else behind it, or else the mapping's last.
    fn related(&self, key: &str, parent: &str, removed: &[&str]) -> Option<String> {
        let mapping = if parent.is_empty() { &self.root } else { self.at(parent)?.as_mapping()? };
        let full = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let table = |name: &str| {
            let below =
                |known: &str| known == name || known.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            self.format.keys.iter().position(|known| below(known.name))
        };
        let at = table(key)?;
        let members: Vec<String> = mapping.keys().filter_map(Yaml::as_str).map(full).collect();
        let stays = |name: &&String| {
            !removed.contains(&name.as_str()) && !self.places.place(name).statement.is_empty() && self.is_own(name)
        };
        let stays: Vec<&String> = members.iter().filter(stays).collect();
        let known = || stays.iter().filter_map(|name| Some((table(name)?, *name)));
        let before = known().filter(|(place, _)| *place <= at).max_by_key(|(place, _)| *place);
        let behind = known().filter(|(place, _)| *place > at).min_by_key(|(place, _)| *place);
        let last = || stays.iter().max_by_key(|name| self.places.place(name).statement.end).copied();
        before.or(behind).map(|(_, name)| name).or_else(last).cloned()
    }

    /// It is written here, and does not come of what is merged.
    fn is_own(&self, name: &str) -> bool {
        let leaf = name.rsplit('.').next().unwrap_or(name);
        let key = self.places.place(name).key;
        self.text.get(key).is_some_and(|written| written.trim_matches(['"', '\'']) == leaf)
    }

    /// Takes a key out, with its line or its comma; the mapping around it where all of that goes.
    fn out(&self, name: &str, removed: &[&str]) -> Option<Edit> {
        if let Some((parent, _)) = name.rsplit_once('.') {
            let members = self.at(parent)?.as_mapping()?;
            let goes = |leaf: &Yaml| leaf.as_str().is_some_and(|leaf| removed.contains(&&*format!("{parent}.{leaf}")));
            if members.keys().all(goes) {
                return self.out(parent, removed);
            }
        }
        let parent = name.rsplit_once('.').map_or("", |(parent, _)| parent);
        let place = self.places.place(name);
        let (start, end) = (place.statement.start, self.end(&place));
        let line = self.line_start(start);
        let range = if self.is_flow(parent) {
            let before = self.text.get(..start)?.trim_end();
            let behind = self.text.get(end..)?;
            if before.ends_with(',') {
                before.len() - 1..end
            } else if let Some(rest) = behind.trim_start().strip_prefix(',') {
                start..self.text.len() - rest.trim_start().len()
            } else {
                start..end
            }
        } else if self.text.get(line..start)?.trim().is_empty() {
            line..(self.line_end(end) + self.newline().len()).min(self.text.len())
        } else {
            return None;
        };
        Some(Edit { range, text: String::new() })
    }

    /// The mapping at a path is written in braces.
    fn is_flow(&self, parent: &str) -> bool {
        let span = if parent.is_empty() { self.places.whole() } else { self.places.place(parent).value };
        self.text.get(span).is_some_and(|text| text.starts_with('{'))
    }

    /// The end of a statement, without space behind it.
    fn end(&self, place: &Place) -> usize {
        let written = self.text.get(place.statement.clone()).unwrap_or_default();
        place.statement.start + written.trim_end().len()
    }

    fn inline(&self, value: &Yaml) -> String {
        match value {
            value if self.json => serde_json::to_string(value).unwrap_or_default(),
            Yaml::Sequence(items) => {
                format!("[{}]", items.iter().map(|item| self.inline(item)).collect::<Vec<_>>().join(", "))
            }
            value => yaml_text::inline(value),
        }
    }

    /// A text in the quotes of the one that stood there.
    fn quoted(&self, value: &Yaml, old: &str) -> String {
        match value {
            Yaml::String(text) if old.starts_with('"') => serde_json::to_string(text).unwrap_or_default(),
            Yaml::String(text) if old.starts_with('\'') => format!("'{}'", text.replace('\'', "''")),
            value => self.inline(value),
        }
    }

    fn newline(&self) -> &'static str {
        if self.text.contains("\r\n") { "\r\n" } else { "\n" }
    }

    fn indent(&self, place: &Place) -> String {
        let line = self.text.get(self.line_start(place.key.start)..).unwrap_or_default();
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..].find(['\r', '\n']).map_or(self.text.len(), |n| at + n)
    }
}
