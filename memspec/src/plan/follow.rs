//! Values that follow from other settings: looked up in the block they stand in, once all of it is known.

use std::collections::HashMap;
use std::ops::Range;

use super::arithmetic::{Refused, Type, dimension, type_of};
use super::check::{Entry, RawBlock};
use super::expression::{Expression, FIGURES};
use super::section::Section;
use super::spec::nearest;
use super::value::{Item, Value};
use super::{Kind, Plan, Problem, explain};
use crate::quantity::{Dimension, Quantity};

/// Computes what can be computed. What follows from a `fit` or `sweep` stays an expression.
///
/// `abstract_`: of a profile, where settings may be missing that the plans which extend it have.
pub(super) fn follow(raw: &mut RawBlock, abstract_: bool, problems: &mut Vec<Problem>) {
    let mut follower = Follower { settings: HashMap::new(), state: HashMap::new(), abstract_, problems };
    follower.collect(raw, "");
    if !follower.settings.values().any(|item| open(&item.value)) && raw.asserts.is_empty() {
        return;
    }
    let mut paths: Vec<(usize, String)> =
        follower.settings.iter().map(|(path, item)| (item.span.start, path.clone())).collect();
    paths.sort();
    for (_, path) in &paths {
        follower.settle(path);
    }
    let asserts = std::mem::take(&mut raw.asserts);
    raw.asserts = asserts.into_iter().filter(|assert| follower.known(&assert.that, &assert.span)).collect();
    let Follower { settings, .. } = follower;
    put(raw, "", &settings);
}

/// It has to be looked up.
fn open(value: &Value) -> bool {
    match value {
        Value::Computed(_) => true,
        Value::List(items) | Value::Fit(items) | Value::Sweep(items) => items.iter().any(|item| open(&item.value)),
        Value::Limit(_, bound) => open(&bound.value),
        _ => false,
    }
}

/// Whether a plan has a setting, or a block a kind, at that dotted path.
pub(crate) fn is_path(path: &str) -> bool {
    match path.split_once('.') {
        Some((block, "kind")) => Plan::SPEC.block(block).is_some_and(|block| !block.kinds.is_empty()),
        _ => Plan::setting(path).is_some(),
    }
}

/// The value of a setting as others see it: a bare number in a setting of tokens counts tokens.
pub(super) fn seen(path: &str, value: Value) -> Value {
    let measured = Plan::setting(path).and_then(|setting| match setting.kind {
        // what a number means there depends on the number
        Kind::OneOf(_) => None,
        kind => dimension(kind),
    });
    match (value, measured) {
        (Value::Quantity(Quantity { value, dimension: Dimension::Number }), Some(dimension)) => {
            Value::Quantity(Quantity { value, dimension })
        }
        (value, _) => value,
    }
}

struct Follower<'a> {
    /// Every setting by its dotted path; what stands behind a block's name as `block.kind`.
    settings: HashMap<String, Item>,
    /// Whether a setting is being computed, or is done.
    state: HashMap<String, State>,
    abstract_: bool,
    problems: &'a mut Vec<Problem>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Begun,
    Done,
}

impl Follower<'_> {
    fn collect(&mut self, raw: &RawBlock, prefix: &str) {
        if !prefix.is_empty()
            && let Some((kind, span)) = &raw.head
        {
            let item = Item { value: Value::Word(kind.clone()), span: span.clone() };
            self.settings.insert(format!("{prefix}kind"), item);
        }
        for entry in raw.counting() {
            match entry {
                Entry::Setting { name, item, .. } => {
                    self.settings.insert(format!("{prefix}{name}"), item.clone());
                }
                Entry::Block(block) => self.collect(block, &format!("{prefix}{}.", block.name)),
            }
        }
    }

    fn settle(&mut self, path: &str) {
        if self.state.contains_key(path) {
            return;
        }
        let Some(item) = self.settings.get(path).filter(|item| open(&item.value)).cloned() else {
            self.state.insert(path.to_owned(), State::Done);
            return;
        };
        self.state.insert(path.to_owned(), State::Begun);
        let settled = self.item(path, item, true);
        self.settings.insert(path.to_owned(), settled);
        self.state.insert(path.to_owned(), State::Done);
    }

    /// `alone`: it is the whole value of the setting, which may follow from a choice.
    fn item(&mut self, path: &str, item: Item, alone: bool) -> Item {
        let Item { value, span } = item;
        let value = match value {
            Value::Computed(expression) => self.computed(path, &expression, &span, alone),
            Value::List(items) => Value::List(self.items(path, items)),
            Value::Fit(items) => Value::Fit(self.items(path, items)),
            Value::Sweep(items) => Value::Sweep(self.items(path, items)),
            Value::Limit(comparison, bound) => match self.item(path, *bound, false) {
                Item { value: Value::Hole, .. } => Value::Hole,
                bound => Value::Limit(comparison, Box::new(bound)),
            },
            value => value,
        };
        Item { value, span }
    }

    fn items(&mut self, path: &str, items: Vec<Item>) -> Vec<Item> {
        items.into_iter().map(|item| self.item(path, item, false)).collect()
    }

    fn computed(&mut self, path: &str, expression: &Expression, span: &Range<usize>, alone: bool) -> Value {
        if !self.known(expression, span) {
            return Value::Hole;
        }
        for name in expression.names() {
            if self.state.get(name) == Some(&State::Begun) {
                let (message, label) = if name == path {
                    (format!("`{path}` is computed from itself"), "from itself")
                } else {
                    (format!("`{path}` and `{name}` are computed from each other"), "in a circle")
                };
                let help = if name == path { "give it a value" } else { "give one of them a value" };
                let mut problem = Problem::new("circular", span.clone(), message).label(label);
                if let Some(other) = self.settings.get(name).filter(|_| name != path) {
                    problem = problem.related(other.span.clone(), format!("`{name}` here"));
                }
                self.problems.push(problem.help(help));
                return Value::Hole;
            }
            self.settle(name);
        }
        // A mistake was told where it stands.
        if expression.names().iter().any(|name| self.is_mistaken(name)) {
            return Value::Hole;
        }
        let value = expression.evaluate(&|name: &str| match self.settings.get(name).map(|item| &item.value) {
            // it follows from the choice
            Some(Value::Fit(_) | Value::Sweep(_) | Value::Computed(_)) => None,
            Some(value) => Some(seen(name, value.clone())),
            None => default(name).map(|value| seen(name, value)),
        });
        match value {
            Ok(Value::Computed(_)) if !alone => {
                let message = "only a whole setting can follow from a choice".to_owned();
                self.refused(("not-supported", message), span)
            }
            // as it was written, so that it follows from whatever the settings become
            Ok(Value::Computed(_)) => match self.fits(path, expression, span) {
                true => Value::Computed(expression.clone()),
                false => Value::Hole,
            },
            Ok(value) => value,
            Err(refused) => self.refused(refused, span),
        }
    }

    /// The setting has a value that it does not take.
    fn is_mistaken(&self, path: &str) -> bool {
        let (Some(setting), Some(item)) = (Plan::setting(path), self.settings.get(path)) else { return false };
        if item.value == Value::Hole {
            return true;
        }
        let small = setting.least.and_then(|least| explain::below(setting.name, least, item, ""));
        let mut plan = Plan::default();
        let set = match path.split_once('.') {
            Some((block, name)) => plan.section(block).map(|section| section.set(name, item)),
            None => Some(Section::set(&mut plan, path, item)),
        };
        small.is_some() || set.is_some_and(|set| set.is_err())
    }

    /// Whether the setting takes what the expression will be.
    fn fits(&mut self, path: &str, expression: &Expression, span: &Range<usize>) -> bool {
        let Some(setting) = Plan::setting(path) else { return true };
        let found = match type_of(expression) {
            Ok(Type::Any) => return true,
            Ok(found) => found,
            Err(refused) => {
                self.refused(refused, span);
                return false;
            }
        };
        let takes = match found {
            Type::Quantity(found) => match dimension(setting.kind) {
                Some(wanted) => {
                    let bare = matches!(wanted, Dimension::Tokens | Dimension::Steps) && found == Dimension::Number;
                    bare || found == wanted || matches!(setting.kind, Kind::OneOf(_))
                }
                None => false,
            },
            Type::Bool => setting.kind == Kind::Bool,
            Type::Word | Type::Any | Type::Headroom => true,
        };
        if !takes {
            let got = match found {
                Type::Quantity(dimension) => dimension.to_string(),
                _ => "a condition".to_owned(),
            };
            let code = if matches!(found, Type::Quantity(_)) { "wrong-unit" } else { "wrong-type" };
            let message = format!("`{}` takes {}, got {got}", setting.name, setting.kind);
            self.problems.push(Problem::new(code, span.clone(), message).label(got));
        }
        takes
    }

    /// Whether every setting that it names has a value. What is missing is said, once.
    fn known(&mut self, expression: &Expression, span: &Range<usize>) -> bool {
        for name in expression.names() {
            if FIGURES.iter().any(|figure| figure.name == name)
                || self.settings.contains_key(name)
                || default(name).is_some()
            {
                continue;
            }
            if !self.abstract_ {
                self.problems.push(missing(name, span.clone()));
            }
            return false;
        }
        true
    }

    fn refused(&mut self, (code, message): Refused, span: &Range<usize>) -> Value {
        self.problems.push(Problem::new(code, span.clone(), message).label("here"));
        Value::Hole
    }
}

/// The value of a setting that a plan does not have, where it is always the same.
pub(super) fn default(path: &str) -> Option<Value> {
    let text = Plan::setting(path)?.default?;
    if text == "true" || text == "false" {
        return Some(Value::Bool(text == "true"));
    }
    let quantity = text.parse::<Quantity>().ok().map(Value::Quantity);
    let kind = Plan::setting(path)?.kind;
    let symbol = || kind.symbols().iter().any(|symbol| symbol.name == text).then(|| Value::Word(text.to_owned()));
    quantity.or_else(symbol)
}

fn missing(path: &str, span: Range<usize>) -> Problem {
    let problem =
        Problem::new("unknown-name", span, format!("`{path}` is not set in this plan")).label("computed from it");
    if is_path(path) {
        return problem.help(format!("set `{path}`"));
    }
    let all = std::iter::once(&Plan::SPEC).chain(Plan::SPEC.blocks);
    let paths: Vec<String> = all
        .flat_map(|block| {
            let prefix = if block.name == "plan" { String::new() } else { format!("{}.", block.name) };
            block.settings.iter().map(move |setting| format!("{prefix}{}", setting.name))
        })
        .collect();
    let problem = Problem { message: format!("a plan has no setting `{path}`"), ..problem };
    match nearest(path, paths.iter().map(String::as_str)) {
        Some(meant) => problem.help(format!("did you mean `{meant}`?")),
        None => problem,
    }
}

/// Puts computed values where they belong.
fn put(raw: &mut RawBlock, prefix: &str, settings: &HashMap<String, Item>) {
    for entry in &mut raw.entries {
        match entry {
            Entry::Setting { name, item, .. } if open(&item.value) => {
                if let Some(settled) =
                    settings.get(&format!("{prefix}{name}")).filter(|settled| settled.span == item.span)
                {
                    *item = settled.clone();
                }
            }
            Entry::Setting { .. } => {}
            Entry::Block(block) => {
                let prefix = format!("{prefix}{}.", block.name);
                put(block, &prefix, settings);
            }
        }
    }
}
