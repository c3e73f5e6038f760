//! From a trainer's file to a document: its plan, with places in that file, and notes on what else it says.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use serde_yaml::{Mapping, Value as Yaml};

use super::super::yaml::{Places, comments, parse};
use super::table::{Form, Format, Key, Meaning};
use super::{Foreign, NOT_UNDERSTOOD, Note, NoteKind, Trainer};
use crate::plan::{
    self, Allow, Document, Entry, Item, Kind, Place, Plan, Problem, RawBlock, Source, Value, Written, check, nearest,
};
use crate::quantity::{Dimension, Quantity};

/// Blocks whose settings mean nothing unless something opens them, and what is missing then.
const OPENED: &[(&str, &str)] = &[
    ("adapter", "no adapter is trained"),
    ("quantize", "nothing is quantized"),
    ("parallel", "one card does the work"),
];

/// Keys that LLaMA-Factory has and TRL has not.
const LLAMAFACTORY: [&str; 7] =
    ["stage", "finetuning_type", "template", "cutoff_len", "dataset", "lora_target", "quantization_bit"];

/// Keys that LLaMA-Factory's version 1 has, and no plan.
const VERSION_1: [&str; 9] = [
    "train_dataset",
    "peft_config",
    "kernel_config",
    "quant_config",
    "dist_config",
    "micro_batch_size",
    "batching_strategy",
    "model_class",
    "sample_backend",
];

/// The document as it is, or, where its text is another trainer's file, what that says.
pub fn recognized(document: Document) -> Document {
    let source = &document.source;
    let extension = Path::new(&source.name).extension().and_then(|extension| extension.to_str());
    let yaml = extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&&*extension.to_ascii_lowercase()));
    let unread = document.problems.iter().any(|problem| matches!(problem.code, "not-utf8" | "unreadable-file"));
    match detect(&source.text).filter(|_| yaml && !unread) {
        Some(trainer) => read(document.source, trainer),
        None => document,
    }
}

/// Whose file a text is, by its keys; `None`: a plan of memspec's own, or nothing that is known.
pub fn detect(text: &str) -> Option<Trainer> {
    // Plans of our own are looked at with every key that is typed: they are not parsed for this.
    let telling = ["model_name_or_path", "base_model"].into_iter().chain(VERSION_1);
    if !telling.into_iter().any(|key| text.contains(key)) {
        return None;
    }
    let Ok(Yaml::Mapping(root)) = parse(text) else { return None };
    of_keys(|key| root.contains_key(key))
}

/// The same by the lines that begin with a key: while it is written, a text may be no YAML at all.
pub fn begun(text: &str) -> Option<Trainer> {
    let json = text.trim_start().starts_with('{');
    let key = |line: &'_ str| -> Option<String> {
        let line = if json { line.trim_start_matches(['{', ' ', '\t']) } else { line };
        Some(line.split_once(':')?.0.trim_end().trim_matches(['"', '\'']).to_owned())
    };
    let keys: HashSet<String> = text.lines().filter_map(key).collect();
    of_keys(|key| keys.contains(key))
}

/// Whose file has such keys. One key alone tells nothing: mergekit's files have a `base_model`, too.
fn of_keys(has: impl Fn(&str) -> bool) -> Option<Trainer> {
    let with_others = |trainer: Trainer| {
        let format = trainer.format();
        let others = format.keys.iter().filter(|key| key.name != format.model);
        others.into_iter().any(|key| has(key.name.split('.').next().unwrap_or(key.name)))
    };
    if has("plans") {
        None
    } else if has("base_model") {
        Some(Trainer::Axolotl).filter(|trainer| !has("merge_method") && with_others(*trainer))
    } else if has("model_name_or_path") && LLAMAFACTORY.into_iter().any(&has) {
        Some(Trainer::Llamafactory)
    } else if has("model_name_or_path") {
        Some(Trainer::Trl).filter(|trainer| with_others(*trainer))
    } else if has("model") && VERSION_1.into_iter().any(&has) {
        Some(Trainer::LlamafactoryV1)
    } else {
        None
    }
}

/// The same where the file would train something: configurations of inference and export have the same keys. One that cannot be parsed may.
pub fn detect_training(text: &str) -> Option<Trainer> {
    let trainer = detect(text)?;
    let root = match parse(text) {
        Ok(Yaml::Mapping(root)) => root,
        Ok(_) => return None,
        Err(_) => return Some(trainer),
    };
    let has = |key: &str| root.get(key).is_some_and(|value| !value.is_null() && switch(value) != Some(false));
    let trains = match trainer {
        // the dataset may be named on the command line
        Trainer::Trl => true,
        Trainer::Axolotl => ["datasets", "pretraining_dataset"].into_iter().any(has),
        Trainer::Llamafactory => has("do_train"),
        Trainer::LlamafactoryV1 => has("train_dataset"),
    };
    trains.then_some(trainer)
}

/// Reads a trainer's file. As with plans of our own, reading never stops at a mistake.
pub fn read(source: Source, trainer: Trainer) -> Document {
    let format = trainer.format();
    let allows = Allow::collect(&source.text, comments(&source.text));
    let mut document = Document { source, allows, ..Document::default() };
    let text = &document.source.text;
    let root = match parse(text) {
        Ok(Yaml::Mapping(root)) => root,
        Ok(_) => {
            let message = format!("a file of {} is a mapping with `{}`", trainer.title(), format.model);
            document.problems.push(Problem::new("wrong-type", 0..0, message).label("not a mapping"));
            return document;
        }
        Err(problem) => {
            document.problems.push(*problem);
            return document;
        }
    };
    let mut reading = Reading {
        format,
        root: &root,
        places: Places::of(text),
        blocks: BTreeMap::new(),
        keys: BTreeMap::new(),
        notes: Vec::new(),
    };
    reading.unknown(&root, "");
    for group in format.groups {
        (group.read)(&mut reading);
    }
    for key in format.keys {
        reading.key(key);
    }
    let (written, problems, mut notes) = reading.finish(&document.source);
    notes.sort_by_key(|note| note.span.as_ref().map_or(usize::MAX, |span| span.start));
    document.problems = problems;
    document.problems.extend(notes.iter().filter_map(|note| problem(note, trainer)));
    document.problems.sort_by_key(|problem| problem.span.start);
    document.plans = vec![written];
    document.foreign = Some(Foreign { trainer, notes });
    document
}

/// What is not understood, or not costed, is a mistake of the document: its estimate may be wrong.
fn problem(note: &Note, trainer: Trainer) -> Option<Problem> {
    let what = match note.kind {
        NoteKind::NotUnderstood => "not understood",
        NoteKind::NotCosted => "not costed",
        _ => return None,
    };
    let span = note.span.clone().unwrap_or_default();
    let written = note.value.as_ref().map(|value| format!(": {value}")).unwrap_or_default();
    let message = format!("`{}{written}` of {} is {what}: {}", note.name, trainer.title(), note.why);
    let mut problem = Problem::new(NOT_UNDERSTOOD, span, message).label(what);
    if let Some(nearest) = &note.nearest {
        problem = problem.help(format!("did you mean `{nearest}`?"));
    }
    Some(problem)
}

/// A file on its way to a plan.
pub(super) struct Reading<'a> {
    format: &'static Format,
    root: &'a Mapping,
    places: Places,
    /// By block; the plan's own settings by an empty name.
    blocks: BTreeMap<&'static str, Opened>,
    /// The key that each setting comes from.
    keys: BTreeMap<&'static str, String>,
    notes: Vec<Note>,
}

/// A block of the plan as far as it was read.
#[derive(Default)]
struct Opened {
    /// What stands after its name, and where.
    kind: Option<(&'static str, Option<Place>)>,
    settings: Vec<(&'static str, Value, Option<Place>)>,
}

impl Reading<'_> {
    /// The key as the file writes it, under its name or a former one; one without a value is not written.
    fn actual(&self, key: &str) -> Option<(&'static str, &Yaml)> {
        self.format.names(key).filter_map(|name| Some((name, self.at(name)?))).next()
    }

    fn at(&self, name: &str) -> Option<&Yaml> {
        let mut parts = name.split('.');
        let first = self.root.get(parts.next()?)?;
        let found = parts.try_fold(first, |value, part| value.as_mapping()?.get(part))?;
        (!found.is_null()).then_some(found)
    }

    /// The value that the file writes.
    pub(super) fn written(&self, key: &str) -> Option<Yaml> {
        self.actual(key).map(|(_, value)| value.clone())
    }

    /// The file says that the key has no value, where the trainer's default is one.
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.root.get(key).is_some_and(Yaml::is_null)
    }

    /// The value that the file writes, or the trainer's default.
    pub(super) fn value(&self, key: &str) -> Option<Yaml> {
        self.written(key).or_else(|| {
            let default = self.format.key(key).map(|known| known.default).filter(|default| !default.is_empty())?;
            serde_yaml::from_str(default).ok()
        })
    }

    /// A key that is true or false.
    pub(super) fn flag(&mut self, key: &str) -> bool {
        let Some(value) = self.value(key) else { return false };
        switch(&value).unwrap_or_else(|| {
            self.refuse(key, "it is true or false");
            false
        })
    }

    /// A key that is a word or a text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.value(key)? {
            Yaml::Sequence(_) | Yaml::Mapping(_) | Yaml::Tagged(_) => {
                self.refuse(key, "it takes one value");
                None
            }
            value => Some(scalar(&value)),
        }
    }

    /// A key that is a number.
    pub(super) fn number(&mut self, key: &str) -> Option<f64> {
        let value = self.value(key)?;
        let number = number(&value);
        if number.is_none() {
            self.refuse(key, "it takes a number");
        }
        number
    }

    /// Gives a setting of the plan a value that comes from this key.
    pub(super) fn set(&mut self, path: &'static str, value: Value, key: &str) {
        let (block, name) = path.split_once('.').unwrap_or(("", path));
        let actual = self.actual(key).map(|(name, _)| name);
        let place = actual.map(|name| self.places.place(name));
        self.keys.insert(path, actual.unwrap_or(key).to_owned());
        self.blocks.entry(block).or_default().settings.push((name, value, place));
    }

    /// Gives it a word.
    pub(super) fn set_word(&mut self, path: &'static str, word: impl Into<String>, key: &str) {
        self.set(path, Value::Word(word.into()), key);
    }

    /// Gives it a number.
    pub(super) fn set_number(&mut self, path: &'static str, number: f64, key: &str) {
        self.set(path, Value::Quantity(Quantity::number(number)), key);
    }

    /// Opens a block that has kinds.
    pub(super) fn open(&mut self, block: &'static str, kind: &'static str, key: &str) {
        let place = self.actual(key).map(|(name, _)| self.places.place(name));
        self.blocks.entry(block).or_default().kind = Some((kind, place));
    }

    /// The block was opened.
    pub(super) fn is_open(&self, block: &str) -> bool {
        self.blocks.get(block).is_some_and(|block| block.kind.is_some())
    }

    /// The word that a setting was given.
    pub(super) fn word(&self, path: &str) -> Option<String> {
        let (block, name) = path.split_once('.').unwrap_or(("", path));
        let settings = &self.blocks.get(block)?.settings;
        settings.iter().find(|(setting, ..)| *setting == name).and_then(|(_, value, _)| match value {
            Value::Word(word) => Some(word.clone()),
            _ => None,
        })
    }

    /// The file has the key, which need be none of the table: one that others stand below.
    pub(super) fn is_written(&self, key: &str) -> bool {
        self.at(key).is_some()
    }

    /// The setting was given a value.
    pub(super) fn has(&self, path: &str) -> bool {
        self.keys.contains_key(path)
    }

    /// What the key does is known, and takes memory that is not costed.
    pub(super) fn uncosted(&mut self, key: &str, why: impl Into<String>) {
        self.note(NoteKind::NotCosted, key, why);
    }

    /// The key changes memory, and nothing here knows how.
    pub(super) fn refuse(&mut self, key: &str, why: impl Into<String>) {
        self.note(NoteKind::NotUnderstood, key, why);
    }

    /// The key has the trainer do something that is costed otherwise.
    pub(super) fn differ(&mut self, key: &str, how: impl Into<String>) {
        self.note(NoteKind::Difference, key, how);
    }

    /// The key has no counterpart.
    pub(super) fn aside(&mut self, key: &str, why: impl Into<String>) {
        self.note(NoteKind::Aside, key, why);
    }

    /// A plan has to say what this file does not.
    pub(super) fn assume(&mut self, setting: &str, value: &str, why: impl Into<String>) {
        self.notes.push(Note {
            kind: NoteKind::Assumed,
            name: setting.to_owned(),
            value: Some(value.to_owned()),
            why: why.into(),
            nearest: None,
            span: None,
        });
    }

    fn note(&mut self, kind: NoteKind, key: &str, why: impl Into<String>) {
        let written = self.actual(key);
        let name = written.map_or_else(|| key.to_owned(), |(name, _)| name.to_owned());
        let value = written.map(|(_, value)| brief(value));
        let span = self.places.place(&name).statement;
        let span = (!span.is_empty()).then_some(span);
        self.notes.push(Note { kind, name, value, why: why.into(), nearest: None, span });
    }

    /// Notes the keys of a mapping that the table does not have.
    fn unknown(&mut self, mapping: &Mapping, above: &str) {
        for (key, value) in mapping {
            let key = scalar(key);
            let name = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            if self.format.key(&name).is_some() {
                continue;
            }
            match value {
                Yaml::Mapping(inner) if self.format.has_below(&name) => self.unknown(inner, &name),
                // `fsdp_config:` with nothing below it
                Yaml::Null if self.format.has_below(&name) => {}
                _ => {
                    let siblings = self.format.keys.iter().map(|key| key.name);
                    let meant = nearest(&name, siblings).map(str::to_owned);
                    let span = self.places.place(&name).statement;
                    self.notes.push(Note {
                        kind: NoteKind::NotUnderstood,
                        value: Some(brief(value)),
                        why: format!("{} has no such key that is known here", self.format.trainer.title()),
                        nearest: meant,
                        span: (!span.is_empty()).then_some(span),
                        name,
                    });
                }
            }
        }
    }

    /// Reads a key that means something on its own.
    fn key(&mut self, key: &'static Key) {
        let written = self.at(key.name).cloned();
        match key.meaning {
            Meaning::Setting(path, form) => self.setting(key, path, form),
            Meaning::Aside(what) if written.is_some() => self.aside(key.name, what),
            Meaning::Refused(unless, why) if written.as_ref().is_some_and(|value| !one_of(value, unless)) => {
                self.uncosted(key.name, why);
            }
            Meaning::Differs(unless, how) if written.as_ref().is_some_and(|value| !one_of(value, unless)) => {
                self.differ(key.name, how);
            }
            Meaning::Part(_) | Meaning::Former(_) | Meaning::Aside(_) | Meaning::Refused(..) | Meaning::Differs(..) => {
            }
        }
    }

    fn setting(&mut self, key: &'static Key, path: &'static str, form: Form) {
        let Some(value) = self.value(key.name) else { return };
        let block = path.split_once('.').map_or("", |(block, _)| block);
        let closed = OPENED.iter().find(|(opened, _)| *opened == block && !self.is_open(block)).map(|(_, why)| *why);
        let idle = (block == "eval" && !self.has("data.eval_path")).then_some("nothing is evaluated");
        if let Some(why) = closed.or(idle) {
            if self.written(key.name).is_some() {
                self.aside(key.name, why);
            }
            return;
        }
        let value = match form {
            Form::Same => {
                let switched =
                    Plan::setting(path).filter(|setting| setting.kind == Kind::Bool).and_then(|_| switch(&value));
                Some(switched.map_or_else(|| raw(&value), Value::Bool))
            }
            Form::Share => self.number(key.name).map(|share| {
                let value = (share * 1e12).round() / 1e10;
                Value::Quantity(Quantity { value, dimension: Dimension::Percent })
            }),
            Form::Names => Some(match value {
                Yaml::Sequence(_) => raw(&value),
                one => Value::List(vec![Item { value: raw(&one), span: 0..0 }]),
            }),
            Form::Words(words) => self.in_words(key, words),
        };
        if let Some(value) = value {
            self.set(path, value, key.name);
        }
    }

    fn in_words(&mut self, key: &'static Key, words: &[(&'static str, &str)]) -> Option<Value> {
        let text = self.text(key.name)?;
        if let Some((_, ours)) = words.iter().find(|(theirs, _)| *theirs == text) {
            return Some(Value::Word((*ours).to_owned()));
        }
        self.refuse(key.name, format!("what `{text}` takes is not known here"));
        if let Some(note) = self.notes.last_mut() {
            note.nearest = nearest(&text, words.iter().map(|(theirs, _)| *theirs)).map(str::to_owned);
        }
        None
    }

    /// The plan, checked like one of our own.
    fn finish(mut self, source: &Source) -> (Written, Vec<Problem>, Vec<Note>) {
        let stem = Path::new(&source.name).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let at = self.places.place(self.format.model);
        let mut problems = Vec::new();
        if !self.has("model") {
            let message = format!("this file does not say which model it trains: `{}` is missing", self.format.model);
            problems.push(Problem::new("missing-model", 0..0, message).label("no model"));
        }
        let own = self.blocks.remove("").unwrap_or_default();
        let mut entries: Vec<Entry> = own.settings.into_iter().map(entry).collect();
        entries.extend(self.blocks.into_iter().map(|(name, block)| Entry::Block(block.raw(name))));
        let raw = RawBlock {
            name: Plan::SPEC.name.to_owned(),
            key: at.key.clone(),
            head: Some((stem.unwrap_or_else(|| "plan".to_owned()), at.key.clone())),
            entries,
            asserts: Vec::new(),
            body: 0..source.text.len(),
            statement: 0..source.text.len(),
        };
        let mut found = Vec::new();
        let mut written = check(raw, plan::Reading::Torn, &source.text, &mut found);
        written.spans.drop_empty();
        for problem in &mut found {
            reword(problem, &written, &self.keys);
        }
        problems.extend(found);
        (written, problems, self.notes)
    }
}

impl Opened {
    fn raw(self, name: &'static str) -> RawBlock {
        let written = self.settings.iter().filter_map(|(_, _, place)| place.clone());
        let opened = self.kind.as_ref().and_then(|(_, place)| place.clone());
        let place = opened.or_else(|| written.min_by_key(|place| place.key.start)).unwrap_or_default();
        RawBlock {
            name: name.to_owned(),
            key: place.key,
            head: self.kind.map(|(kind, place)| (kind.to_owned(), place.unwrap_or_default().value)),
            entries: self.settings.into_iter().map(entry).collect(),
            asserts: Vec::new(),
            body: place.value,
            statement: place.statement,
        }
    }
}

fn entry((name, value, place): (&'static str, Value, Option<Place>)) -> Entry {
    let place = place.unwrap_or_default();
    let item = Item { value, span: place.value.clone() };
    Entry::Setting { name: name.to_owned(), key: place.key, item, statement: place.statement }
}

/// A mistake in the words of the file: its keys, and no repair that is one of a plan's text.
fn reword(problem: &mut Problem, written: &Written, keys: &BTreeMap<&'static str, String>) {
    problem.fix = None;
    let Some(path) = written.spans.at(problem.span.start) else { return };
    let path = path.split('[').next().unwrap_or(path);
    if let Some(key) = keys.get(path) {
        let name = path.rsplit('.').next().unwrap_or(path);
        problem.message = problem.message.replace(&format!("`{name}`"), &format!("`{key}`"));
    }
}

/// A value as a plan takes it.
fn raw(value: &Yaml) -> Value {
    match value {
        Yaml::Null => Value::Hole,
        Yaml::Bool(value) => Value::Bool(*value),
        Yaml::Number(number) => Value::Quantity(Quantity::number(number.as_f64().unwrap_or(f64::NAN))),
        Yaml::String(text) => Value::Word(text.clone()),
        Yaml::Sequence(values) => {
            Value::List(values.iter().map(|value| Item { value: raw(value), span: 0..0 }).collect())
        }
        Yaml::Tagged(tagged) => raw(&tagged.value),
        // No setting takes one, so this is a mistake of its type.
        Yaml::Mapping(_) => Value::Word("{..}".to_owned()),
    }
}

/// True or false, as YAML 1.1 writes them, which the trainers read.
fn switch(value: &Yaml) -> Option<bool> {
    match value {
        Yaml::Bool(value) => Some(*value),
        Yaml::String(text) => match &*text.to_ascii_lowercase() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn number(value: &Yaml) -> Option<f64> {
    match value {
        Yaml::Number(number) => number.as_f64(),
        // PyYAML reads `2e-5` as text, which the trainers then read as a number.
        Yaml::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// A scalar as text; nothing for what is none.
pub(super) fn scalar(value: &Yaml) -> String {
    match value {
        Yaml::String(text) => text.clone(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// A value in a line.
fn brief(value: &Yaml) -> String {
    match value {
        Yaml::Null => "null".to_owned(),
        Yaml::Sequence(values) if values.iter().all(|value| !value.is_mapping() && !value.is_sequence()) => {
            format!("[{}]", values.iter().map(scalar).collect::<Vec<_>>().join(", "))
        }
        Yaml::Sequence(_) => "[..]".to_owned(),
        Yaml::Mapping(_) => "{..}".to_owned(),
        Yaml::Tagged(tagged) => brief(&tagged.value),
        scalar_value => scalar(scalar_value),
    }
}

/// The value is one of those that a table lists, as YAML.
fn one_of(value: &Yaml, listed: &[&str]) -> bool {
    listed.iter().any(|text| {
        serde_yaml::from_str::<Yaml>(text).is_ok_and(|known| {
            known == *value || number(&known).zip(number(value)).is_some_and(|(known, value)| known == value)
        })
    })
}
