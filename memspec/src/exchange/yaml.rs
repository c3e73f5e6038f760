//! Plans written as YAML or JSON, with the checks and the words of `.mem`.
//!
//! A file is one plan, a mapping with a `name`, or `plans` with a list of such mappings:
//!
//! ```yaml
//! name: tiny
//! model: HuggingFaceTB/SmolLM2-135M-Instruct
//! adapter: {kind: lora, rank: 16}
//! train: {micro_batch: {fit: [4, 2, 1]}}
//! budget: {device_memory: "<= 14.5GiB"}   # or plain 14.5GiB, for the same
//! ```

mod budget;
mod locate;
mod mistakes;

use std::collections::HashSet;
use std::ops::Range;

use serde_yaml::{Mapping, Value as Yaml};

use crate::plan::{
    Allow, Block, Document, Entry, Expression, Item, Place, Plan, Problem, RawAssert, RawBlock, Reading, Setting,
    Source, Value, check, text_of,
};
use crate::quantity::Quantity;
pub(in crate::exchange) use locate::Places;
use locate::{UNNAMED, join};

/// Some editors begin a text with it.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads the plans of a YAML or JSON text.
pub fn read(source: Source) -> Document {
    let allows = Allow::collect(&source.text, comments(&source.text));
    let mut document = Document { source, allows, ..Document::default() };
    let text = &document.source.text;
    let root = match parse(text) {
        Ok(root) => root,
        Err(problem) => {
            document.problems.push(*problem);
            return document;
        }
    };
    let mut reader = Reader { text, places: Places::of(text), problems: Vec::new(), plans: Vec::new() };
    reader.root(&root);
    let Reader { mut problems, plans, .. } = reader;
    for problem in &mut problems {
        keep_quotes(text, problem);
        in_yaml(problem);
    }
    // what an anchor holds is wrong once, however many aliases it has
    let mut told = HashSet::new();
    problems.retain(|problem| told.insert((problem.span.start, problem.message.clone())));
    document.problems = problems;
    document.plans = plans;
    document
}

/// The text of plans: one mapping, or `plans` with a list of them. Reading it gives the same plans.
pub fn write(plans: &[Plan]) -> String {
    let text = match plans {
        [plan] => serde_yaml::to_string(plan),
        several => serde_yaml::to_string(&std::collections::BTreeMap::from([("plans", several)])),
    };
    text.unwrap_or_default()
}

/// The value of a YAML or JSON text, with its merges (`<<`) done.
pub(in crate::exchange) fn parse(text: &str) -> Result<Yaml, Box<Problem>> {
    budget::in_length(text)?;
    // before the reader of values, which takes very long for what is nested very deep
    let places = Places::of(text);
    if let Some(problem) = mistakes::in_form(text, &places) {
        return Err(Box::new(problem));
    }
    // which the reader takes for a document of its own
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    budget::in_values(body)?;
    let read = serde_yaml::from_str::<Yaml>(body).and_then(|mut value| value.apply_merge().map(|()| value));
    read.map_err(|error| Box::new(mistakes::in_reading(text, &places, &error)))
}

/// The comments of the text: `#` at the beginning of a line or after a space. One inside of a text is taken for a comment,
/// which matters only if it allows findings.
pub(in crate::exchange) fn comments(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let begin = start;
        start += line.len();
        let at = if line.starts_with('#') { 0 } else { line.find(" #")? + 1 };
        Some(begin + at..begin + line.trim_end().len())
    })
}

/// A repair of a quoted value stays quoted.
fn keep_quotes(text: &str, problem: &mut Problem) {
    if let Some(fix) = &mut problem.fix
        && let Some(old) = text.get(fix.range.clone())
        && let Some(quote) = old.chars().next().filter(|c| matches!(c, '"' | '\''))
        && old.len() > 1
        && old.ends_with(quote)
        && !fix.text.starts_with(quote)
        && !matches!(fix.text.as_str(), "true" | "false")
        && fix.text.parse::<f64>().is_err()
    {
        fix.text = format!("{quote}{}{quote}", fix.text);
    }
}

/// Some things are written otherwise here than in `.mem`.
fn in_yaml(problem: &mut Problem) {
    let Some(help) = &mut problem.help else { return };
    if help.contains("= fit [") {
        *help = "write `{fit: [..]}` for the first that fits the budget, `{sweep: [..]}` for one run each".to_owned();
    }
    for (mem, yaml) in
        [("`model = \"..\"`", "`model: ..`"), ("`fit [4, 2, 1]`", "`{fit: [4, 2, 1]}`"), (" <= ..`", ": \"<= ..\"`")]
    {
        *help = help.replace(mem, yaml);
    }
}

struct Reader<'a> {
    text: &'a str,
    places: Places,
    problems: Vec<Problem>,
    plans: Vec<crate::plan::Written>,
}

impl Reader<'_> {
    fn root(&mut self, root: &Yaml) {
        match untagged(root) {
            Yaml::Mapping(mapping) if mapping.contains_key("plans") => self.several(mapping),
            Yaml::Mapping(mapping) if mapping.is_empty() || mapping.keys().any(is_of_a_plan) => self.plan(mapping, ""),
            Yaml::Mapping(mapping) => {
                let first = mapping.keys().next().map(key_text).unwrap_or_default();
                let message = "none of its keys is one of a plan, or of a trainer whose files are read";
                let problem = Problem::new("wrong-type", self.places.place(&first).key, message);
                let help = "a plan has a `name` and a `model`; docs/convert.md has the keys of other trainers";
                self.problems.push(problem.label("not a plan").help(help));
            }
            Yaml::Null => {}
            _ => {
                let problem =
                    Problem::new("wrong-type", self.places.whole(), "a plan is a mapping with a `name` and a `model`");
                self.problems.push(problem.label("not a mapping"));
            }
        }
    }

    fn several(&mut self, mapping: &Mapping) {
        for (key, value) in mapping {
            let key = key_text(key);
            match untagged(value) {
                Yaml::Sequence(plans) if key == "plans" => {
                    for (n, plan) in plans.iter().enumerate() {
                        let path = format!("plans[{n}]");
                        match untagged(plan) {
                            Yaml::Mapping(plan) => self.plan(plan, &path),
                            _ => self.wrong(&path, "a plan is a mapping with a `name` and a `model`".to_owned()),
                        }
                    }
                }
                _ if key == "plans" => self.wrong("plans", "`plans` takes a list of plans".to_owned()),
                _ => {
                    let place = self.places.place(&key);
                    let problem =
                        Problem::new("unknown-setting", place.key, format!("`{key}` stands outside of a plan"));
                    self.problems
                        .push(problem.label("beside `plans`").help("move it into each plan that it is meant for"));
                }
            }
        }
    }

    fn wrong(&mut self, path: &str, message: String) {
        let place = self.places.place(path);
        self.problems.push(Problem::new("wrong-type", place.value, message).label("not this"));
    }

    fn plan(&mut self, mapping: &Mapping, path: &str) {
        let head = match mapping.get("name") {
            Some(Yaml::String(name)) => Some((name.clone(), self.places.place(&join(path, "name")).value)),
            Some(_) => {
                self.wrong(&join(path, "name"), "`name` takes text".to_owned());
                None
            }
            None => {
                let at = self.places.first(path);
                self.problems.push(
                    Problem::new("missing-name", at, "a plan needs a `name`")
                        .label("no `name` here")
                        .help("add `name: ..`"),
                );
                None
            }
        };
        let whole = if path.is_empty() { 0..self.text.len() } else { self.places.place(path).value };
        let place = Place { key: self.places.first(path), value: whole.clone(), statement: whole };
        let raw = self.block(mapping, Plan::SPEC, path, place, "name", head);
        let written = check(raw, Reading::Whole, self.text, &mut self.problems);
        self.plans.push(written);
    }

    fn block(
        &mut self,
        mapping: &Mapping,
        spec: &'static Block,
        path: &str,
        place: Place,
        head_key: &str,
        head: Option<(String, Range<usize>)>,
    ) -> RawBlock {
        let mut entries = Vec::new();
        let mut asserts = Vec::new();
        for (key, value) in mapping {
            let name = key_text(key);
            if name == head_key {
                continue;
            }
            if spec.name == Plan::SPEC.name && name == "asserts" {
                asserts = self.asserts(value, &join(path, &name));
                continue;
            }
            let inner_path = join(path, &name);
            let place = self.places.place(&inner_path);
            match (spec.block(&name), untagged(value)) {
                (Some(inner), Yaml::Mapping(mapping)) => entries.push(self.inner(mapping, inner, &inner_path, place)),
                // `data:` with nothing below it
                (Some(inner), Yaml::Null) => entries.push(self.inner(&Mapping::new(), inner, &inner_path, place)),
                (Some(inner), _) => {
                    let example = if inner.kinds.is_empty() {
                        "{..}".to_owned()
                    } else {
                        format!("{{kind: {}, ..}}", inner.kinds[0].name)
                    };
                    self.wrong(&inner_path, format!("`{name}` takes settings, as in `{name}: {example}`"));
                }
                (None, Yaml::Mapping(inner))
                    if spec.setting(&name).is_none() && choice(inner).is_none() && computed(inner).is_none() =>
                {
                    let place = place.clone();
                    let raw = RawBlock {
                        name,
                        key: place.key,
                        head: None,
                        entries: Vec::new(),
                        asserts: Vec::new(),
                        body: place.value,
                        statement: place.statement,
                    };
                    entries.push(Entry::Block(raw));
                }
                (None, value) => {
                    let item = match spec.setting(&name) {
                        Some(setting) => self.item(value, &inner_path, spec.limits, setting),
                        None => Item { value: Value::Hole, span: place.value.clone() },
                    };
                    entries.push(Entry::Setting { name, key: place.key, item, statement: place.statement });
                }
            }
        }
        RawBlock {
            name: spec.name.to_owned(),
            key: place.key,
            head,
            entries,
            asserts,
            body: place.value,
            statement: place.statement,
        }
    }

    fn inner(&mut self, mapping: &Mapping, spec: &'static Block, path: &str, place: Place) -> Entry {
        // where a block has no kinds, `kind` is a setting like any other: unknown
        let head_key = if spec.kinds.is_empty() { "" } else { "kind" };
        let head = mapping.get(head_key).map(|kind| {
            let text = kind.as_str().map_or_else(|| format!("{kind:?}"), str::to_owned);
            (text, self.places.place(&join(path, "kind")).value)
        });
        Entry::Block(self.block(mapping, spec, path, place, head_key, head))
    }

    /// `asserts: [{that: .., otherwise: ..}]`
    fn asserts(&mut self, value: &Yaml, path: &str) -> Vec<RawAssert> {
        let Yaml::Sequence(values) = value else {
            self.wrong(path, "`asserts` takes a list, as in `asserts: [{that: device_memory <= 14.5GiB}]`".to_owned());
            return Vec::new();
        };
        let mut asserts = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let path = format!("{path}[{n}]");
            let otherwise = value.get("otherwise").and_then(Yaml::as_str);
            let known = |mapping: &Mapping| {
                mapping.keys().all(|key| matches!(key.as_str(), Some("that" | "otherwise")))
                    && mapping.get("otherwise").is_none_or(Yaml::is_string)
            };
            match value.as_mapping().filter(|mapping| known(mapping)).and_then(|mapping| mapping.get("that")?.as_str())
            {
                Some(text) => {
                    if let Value::Computed(that) = self.expression(text, &join(&path, "that")) {
                        let span = self.places.place(&path).value;
                        asserts.push(RawAssert { that, otherwise: otherwise.map(str::to_owned), span });
                    }
                }
                None => {
                    self.wrong(&path, "an assert is `{that: CONDITION, otherwise: MESSAGE}`, both texts".to_owned())
                }
            }
        }
        asserts
    }

    fn expression(&mut self, text: &str, path: &str) -> Value {
        match serde_json::from_value::<Expression>(text.into()) {
            Ok(expression) => Value::Computed(expression),
            Err(error) => {
                let place = self.places.place(path);
                self.problems.push(Problem::new("syntax", place.value, error.to_string()).label("not an expression"));
                Value::Hole
            }
        }
    }

    /// A value of that setting. `words`: it is a limit, which is a text.
    fn item(&mut self, value: &Yaml, path: &str, words: bool, setting: &Setting) -> Item {
        let takes = || format!("`{}` takes {}", setting.name, setting.kind);
        let span = self.places.place(path).value;
        let value = match untagged(value) {
            Yaml::Null => {
                let problem =
                    Problem::new("wrong-type", span.clone(), format!("{}, got nothing", takes())).label("no value");
                self.problems.push(problem);
                Value::Hole
            }
            Yaml::Bool(value) => Value::Bool(*value),
            // a limit is read from its text, `14.5GiB` like `<= 14.5GiB`
            Yaml::Number(number) if words => Value::Word(number.to_string()),
            Yaml::Number(number) => Value::Quantity(Quantity::number(number.as_f64().unwrap_or(f64::NAN))),
            Yaml::String(text) => text_of(setting.kind, text.clone()),
            Yaml::Sequence(values) => Value::List(self.items(values, path, words, setting)),
            Yaml::Mapping(mapping) => match choice(mapping) {
                Some((word, values)) => {
                    let items = self.items(values, &join(path, word), words, setting);
                    if word == "fit" { Value::Fit(items) } else { Value::Sweep(items) }
                }
                None if computed(mapping).is_some() => {
                    self.expression(computed(mapping).unwrap_or_default(), &join(path, "compute"))
                }
                None => {
                    let problem = Problem::new("wrong-type", span.clone(), format!("{}, got a mapping", takes()))
                        .label("a mapping");
                    self.problems
                        .push(problem.help("several values to choose from are `{fit: [..]}` or `{sweep: [..]}`"));
                    Value::Hole
                }
            },
            Yaml::Tagged(_) => Value::Hole,
        };
        Item { value, span }
    }

    fn items(&mut self, values: &[Yaml], path: &str, words: bool, setting: &Setting) -> Vec<Item> {
        values.iter().enumerate().map(|(n, value)| self.item(value, &format!("{path}[{n}]"), words, setting)).collect()
    }
}

/// `{fit: [..]}` or `{sweep: [..]}`.
fn choice(mapping: &Mapping) -> Option<(&'static str, &Vec<Yaml>)> {
    let word = ["fit", "sweep"].into_iter().find(|word| mapping.contains_key(*word)).filter(|_| mapping.len() == 1)?;
    Some((word, mapping.get(word)?.as_sequence()?))
}

/// `{compute: ..}`
fn computed(mapping: &Mapping) -> Option<&str> {
    mapping.get("compute").filter(|_| mapping.len() == 1)?.as_str()
}

/// Tags (`!name`) mean nothing here.
fn untagged(mut value: &Yaml) -> &Yaml {
    while let Yaml::Tagged(tagged) = value {
        value = &tagged.value;
    }
    value
}

fn is_of_a_plan(key: &Yaml) -> bool {
    let key = key_text(key);
    ["name", "asserts"].contains(&key.as_str())
        || Plan::SPEC.setting(&key).is_some()
        || Plan::SPEC.block(&key).is_some()
}

fn key_text(key: &Yaml) -> String {
    match key {
        Yaml::String(text) => text.clone(),
        Yaml::Bool(value) => value.to_string(),
        Yaml::Number(number) => number.to_string(),
        _ => UNNAMED.to_owned(),
    }
}
