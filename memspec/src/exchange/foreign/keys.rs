//! What a trainer's keys mean, for whoever shows or writes a file of that trainer.

use serde_yaml::{Mapping, Value as Yaml};

use super::Trainer;
use super::read::scalar;
use super::table::{Form, Key, Meaning};
use crate::exchange::yaml::{Places, parse};
use crate::plan::{Document, Kind, Place, Plan};

/// A key of a trainer's file, nested ones with dots: `fsdp_config.cpu_offload`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownKey {
    /// Its name.
    pub name: &'static str,
    /// The trainer's value where a file does not have it.
    pub default: Option<&'static str>,
    /// What it means.
    pub says: Says,
}

/// What a key means in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// The setting of that path.
    Setting(&'static str),
    /// Something together with other keys; what it decides.
    Part(&'static str),
    /// What another key is called now.
    Former(&'static str),
    /// Nothing, and it takes no memory; what it is about.
    Aside(&'static str),
    /// It changes memory in a way that is not known here, but for some values; why.
    Refused(&'static str),
    /// It is costed, and the trainer does it otherwise, but for some values; how.
    Differs(&'static str),
}

/// Every key that is known of a trainer, in the order in which they are written.
pub fn known(trainer: Trainer) -> impl Iterator<Item = KnownKey> {
    trainer.format().keys.iter().map(|key| KnownKey {
        name: key.name,
        default: (!key.default.is_empty()).then_some(key.default),
        says: match key.meaning {
            Meaning::Setting(path, _) => Says::Setting(path),
            Meaning::Part(what) => Says::Part(what),
            Meaning::Former(now) => Says::Former(now),
            Meaning::Aside(what) => Says::Aside(what),
            Meaning::Refused(_, why) => Says::Refused(why),
            Meaning::Differs(_, how) => Says::Differs(how),
        },
    })
}

/// The key that names the model.
pub fn model_key(trainer: Trainer) -> &'static str {
    trainer.format().model
}

/// The words that a key takes, each with that of the plan; empty where it takes other values.
pub fn words(trainer: Trainer, key: &str) -> Vec<(&'static str, &'static str)> {
    match trainer.format().key(key) {
        Some(Key { meaning: Meaning::Setting(_, Form::Words(words)), .. }) => words.to_vec(),
        Some(Key { meaning: Meaning::Setting(path, Form::Same), .. }) => {
            let setting = Plan::setting(path);
            let symbols = setting.iter().flat_map(|setting| setting.kind.symbols());
            let mut words: Vec<_> = symbols.map(|symbol| (symbol.name, symbol.name)).collect();
            if setting.is_some_and(|setting| setting.kind == Kind::Bool) {
                words.extend([("true", "true"), ("false", "false")]);
            }
            words
        }
        Some(Key { default: "true" | "false", .. }) => vec![("true", ""), ("false", "")],
        _ => Vec::new(),
    }
}

/// The keys that another trainer's file writes, in order, each with its dotted name and its place; those that are not known, too.
pub fn written(document: &Document) -> Vec<(String, Place)> {
    let Some(foreign) = &document.foreign else { return Vec::new() };
    let text = &document.source.text;
    let Ok(Yaml::Mapping(root)) = parse(text) else { return Vec::new() };
    let mut all = Vec::new();
    collect(&mut all, foreign.trainer, &Places::of(text), &root, "");
    all.retain(|(_, place)| !place.statement.is_empty());
    all.sort_by_key(|(_, place)| place.statement.start);
    all
}

fn collect(all: &mut Vec<(String, Place)>, trainer: Trainer, places: &Places, mapping: &Mapping, above: &str) {
    for (key, value) in mapping {
        let key = scalar(key);
        let name = if above.is_empty() { key } else { format!("{above}.{key}") };
        all.push((name.clone(), places.place(&name)));
        if let Yaml::Mapping(inner) = value
            && trainer.format().has_below(&name)
        {
            collect(all, trainer, places, inner, &name);
        }
    }
}
