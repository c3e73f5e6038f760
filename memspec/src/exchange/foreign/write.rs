//! From a plan to a trainer's file, and what of it that file cannot say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;
use serde_yaml::{Mapping, Value as Yaml};

use super::table::{Form, Format, Key, Meaning};
use super::{Note, NoteKind, Trainer, defaults, yaml_text};
use crate::plan::Plan;
use crate::quantity::Percent;

/// Settings that take no memory of the device.
const ASIDE: &[&str] = &[
    "name",
    "weights",
    "device",
    "hourly_price",
    "output",
    "seed",
    "data.path",
    "data.format",
    "data.template",
    "data.loss_on",
    "data.new_tokens",
    "data.pad_token",
    "data.eos_token",
    "data.samples",
    "data.mean_length",
    "train.device_map",
    "train.tf32",
    "train.use_cache",
    "train.learning_rate",
    "train.schedule",
    "train.warmup",
    "train.weight_decay",
    "train.betas",
    "train.clip",
    "train.epochs",
    "train.steps",
    "eval.every",
    "eval.generate",
    "save.every",
    "save.keep",
    "save.load_best",
    "budget",
    "asserts",
    "serve",
];

/// A plan in another trainer's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The file's text.
    pub text: String,
    /// What of the plan is not in it.
    pub notes: Vec<Note>,
}

/// A plan with something left to choose, which no other trainer's file can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{setting}` has several values to choose from, which a file of {} cannot say", .trainer.title())]
pub struct NotWritten {
    /// The setting by its dotted path.
    pub setting: String,
    /// Whose file was asked for.
    pub trainer: Trainer,
}

/// Writes a plan, in which every setting has one value, as a trainer's file.
///
/// # Errors
/// A setting with several values.
pub fn write(plan: &Plan, trainer: Trainer) -> Result<Written, NotWritten> {
    let (keys, notes) = keys(plan, trainer)?;
    let mut mapping = Mapping::new();
    for (name, value) in keys {
        insert(&mut mapping, name, value);
    }
    Ok(Written { text: yaml_text::of(&mapping), notes })
}

/// A trainer's keys and their values.
pub(super) type Keys = Vec<(&'static str, Yaml)>;

/// The keys that say a plan, in the order of the trainer's table; what of the plan they do not say.
pub(super) fn keys(plan: &Plan, trainer: Trainer) -> Result<(Keys, Vec<Note>), NotWritten> {
    let format = trainer.format();
    let own = serde_json::to_value(plan).unwrap_or_default();
    if let Some(setting) = choice(&own) {
        return Err(NotWritten { setting, trainer });
    }
    let plan = serde_json::to_value(defaults::explicit(plan)).unwrap_or_default();
    let mut writing = Writing { format, plan, own, carried: BTreeSet::new(), out: BTreeMap::new(), notes: Vec::new() };
    for group in format.groups {
        (group.write)(&mut writing);
    }
    for key in format.keys {
        if let Meaning::Setting(path, form) = key.meaning {
            writing.setting(key, path, form);
        }
    }
    writing.rest();
    Ok((writing.out.into_values().collect(), writing.notes))
}

/// The first setting with a choice.
fn choice(plan: &Json) -> Option<String> {
    let open = |(path, value): &(String, Json)| {
        ["fit", "sweep", "compute"].iter().any(|word| value.get(word).is_some())
            || path == "train.checkpointing" && value == "auto"
    };
    paths(plan).into_iter().find(open).map(|(path, _)| path)
}

/// Every setting that a plan has, with what stands after its blocks' names as `block.kind`.
pub(super) fn paths(plan: &Json) -> Vec<(String, Json)> {
    let mut all = Vec::new();
    for (name, value) in plan.as_object().into_iter().flatten() {
        match value {
            Json::Object(block) if Plan::SPEC.block(name).is_some() => {
                all.extend(block.iter().map(|(setting, value)| (format!("{name}.{setting}"), value.clone())));
            }
            value => all.push((name.clone(), value.clone())),
        }
    }
    all
}

/// A plan on its way to a file.
pub(super) struct Writing {
    format: &'static Format,
    /// With every default.
    plan: Json,
    /// As it is.
    own: Json,
    /// Paths of settings that were seen to.
    carried: BTreeSet<String>,
    /// Values by the place of their key in the table.
    out: BTreeMap<usize, (&'static str, Yaml)>,
    notes: Vec<Note>,
}

impl Writing {
    /// The value of a setting, its default where the plan says nothing.
    pub(super) fn get(&self, path: &str) -> Option<Json> {
        find(&self.plan, path)
    }

    /// The same, which has a counterpart now.
    pub(super) fn take(&mut self, path: &str) -> Option<Json> {
        self.carried.insert(path.to_owned());
        self.get(path)
    }

    /// The same as a word.
    pub(super) fn take_word(&mut self, path: &str) -> Option<String> {
        self.take(path).as_ref().and_then(Json::as_str).map(str::to_owned)
    }

    /// The plan says it itself.
    pub(super) fn says(&self, path: &str) -> bool {
        find(&self.own, path).is_some()
    }

    /// Writes a key of the table.
    pub(super) fn put(&mut self, key: &'static str, value: impl Into<Yaml>) {
        if let Some(place) = self.format.keys.iter().position(|known| known.name == key) {
            self.out.insert(place, (key, value.into()));
        }
    }

    /// Writes it where the trainer would do otherwise.
    pub(super) fn put_unless_default(&mut self, key: &'static str, value: impl Into<Yaml>) {
        let value = value.into();
        let default = self.format.key(key).and_then(|known| serde_yaml::from_str::<Yaml>(known.default).ok());
        if !default.is_some_and(|default| same(&default, &value)) {
            self.put(key, value);
        }
    }

    /// The file cannot say this setting.
    pub(super) fn lose(&mut self, path: &str, why: impl Into<String>) {
        let aside = ASIDE.iter().any(|aside| path == *aside || path.split('.').next() == Some(aside));
        self.note(if aside { NoteKind::Aside } else { NoteKind::Lost }, path, why);
    }

    /// The file says this setting otherwise, and it takes the same memory.
    pub(super) fn rename(&mut self, path: &str, why: impl Into<String>) {
        self.note(NoteKind::Aside, path, why);
    }

    fn note(&mut self, kind: NoteKind, path: &str, why: impl Into<String>) {
        self.carried.insert(path.to_owned());
        let Some(value) = self.get(path) else { return };
        let value = Some(brief(&value));
        let name = path.to_owned();
        self.notes.push(Note { kind, name, value, why: why.into(), nearest: None, span: None });
    }

    /// The file cannot say a block.
    pub(super) fn lose_block(&mut self, block: &str, why: &str) {
        for (path, _) in paths(&self.own) {
            if path.split('.').next() == Some(block) {
                self.lose(&path, why);
            }
        }
        let defaults = paths(&self.plan).into_iter().map(|(path, _)| path);
        self.carried.extend(defaults.filter(|path| path.split('.').next() == Some(block)));
    }

    /// Without samples nothing is evaluated.
    pub(super) fn lose_evaluation(&mut self) {
        for path in ["eval.every", "eval.micro_batch"] {
            if self.says(path) {
                self.lose(path, "nothing is evaluated without `data.eval_path`");
            }
        }
    }

    /// What bitsandbytes' LLM.int8 has no choice of: how it stores weights, and their scales.
    pub(super) fn lose_of_int8(&mut self, storage: &str, double: bool) {
        if storage != "uint8" {
            self.lose("quantize.storage", "LLM.int8 has bytes");
        }
        if double {
            self.lose("quantize.double", "LLM.int8 has one scale a row, which is not quantized");
        }
    }

    /// Nobody has seen to the setting yet.
    pub(super) fn is_open(&self, path: &str) -> bool {
        !self.carried.contains(path)
    }

    fn setting(&mut self, key: &'static Key, path: &'static str, form: Form) {
        if self.carried.contains(path) {
            return;
        }
        let Some(value) = self.take(path) else { return };
        let theirs = match form {
            Form::Same | Form::Names => yaml(&value),
            Form::Share => share(&value).map_or(Yaml::Null, float),
            Form::Words(words) => {
                let word = value.as_str().unwrap_or_default();
                match words.iter().find(|(_, ours)| *ours == word) {
                    Some((theirs, _)) => Yaml::from(*theirs),
                    None => {
                        let title = self.format.trainer.title();
                        return self.lose(path, format!("{title} has no word for it that is known here"));
                    }
                }
            }
        };
        if self.says(path) {
            self.put(key.name, theirs);
        } else {
            self.put_unless_default(key.name, theirs);
        }
    }

    /// What the plan says and no key took.
    fn rest(&mut self) {
        for (path, value) in paths(&self.own) {
            let plain = defaults::of(&path).is_some_and(|default| default == value);
            if self.carried.contains(&path) || plain || path == "name" {
                continue;
            }
            let block = path.split('.').next().unwrap_or_default();
            let known = |name: &str| self.format.absent.iter().find(|(absent, _)| *absent == name);
            let why = known(&path).or_else(|| known(block)).map(|(_, why)| (*why).to_owned());
            self.lose(&path, why.unwrap_or_else(|| format!("{} has no key for it", self.format.trainer.title())));
        }
    }
}

/// Puts a value at a dotted name.
fn insert(mapping: &mut Mapping, name: &str, value: Yaml) {
    match name.split_once('.') {
        None => _ = mapping.insert(name.into(), value),
        Some((first, rest)) => {
            let inner = mapping.entry(first.into()).or_insert_with(|| Yaml::Mapping(Mapping::new()));
            if let Yaml::Mapping(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn find(plan: &Json, path: &str) -> Option<Json> {
    path.split('.').try_fold(plan, |value, part| value.get(part)).cloned()
}

/// A value as YAML; a whole number without a point.
pub(super) fn yaml(value: &Json) -> Yaml {
    match value {
        Json::Number(number) => number.as_u64().map_or_else(|| float(number.as_f64().unwrap_or_default()), Yaml::from),
        Json::Array(values) => Yaml::Sequence(values.iter().map(yaml).collect()),
        Json::String(text) => Yaml::from(text.as_str()),
        Json::Bool(value) => Yaml::from(*value),
        Json::Null | Json::Object(_) => Yaml::Null,
    }
}

/// A number, without a point where it is whole.
pub(super) fn float(value: f64) -> Yaml {
    if value.fract() == 0.0 && value.abs() < 1e15 { Yaml::from(value as i64) } else { Yaml::from(value) }
}

/// `5%` as a share of 1.
pub(super) fn share(value: &Json) -> Option<f64> {
    let percent = match value {
        Json::String(text) => text.parse::<Percent>().ok()?.0,
        Json::Number(number) => number.as_f64()?,
        _ => return None,
    };
    Some((percent * 1e10).round() / 1e12)
}

pub(super) fn same(a: &Yaml, b: &Yaml) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b)
}

fn brief(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
