//! From blocks and values as written to a typed plan: the checks that `.mem`, YAML and JSON share.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::expression::Expression;
use super::follow::follow;
use super::section::Section;
use super::spec::Block;
use super::value::{Fault, Item, Value};
use super::{Assertion, Place, Plan, Problem, Spans, Written, explain};

/// A block as written, before anything is checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawBlock {
    pub(crate) name: String,
    pub(crate) key: Range<usize>,
    /// What stands after its name.
    pub(crate) head: Option<(String, Range<usize>)>,
    pub(crate) entries: Vec<Entry>,
    /// What has to be true of the plan, wherever in it that stands; inner blocks have none.
    pub(crate) asserts: Vec<RawAssert>,
    /// The body with its braces.
    pub(crate) body: Range<usize>,
    pub(crate) statement: Range<usize>,
}

/// `assert that else otherwise`
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawAssert {
    pub(crate) that: Expression,
    pub(crate) otherwise: Option<String>,
    pub(crate) span: Range<usize>,
}

/// How much of a plan there is to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All of it.
    Whole,
    /// What could be read: what seems to be missing may only be unread.
    #[cfg_attr(not(any(feature = "lang", feature = "yaml")), allow(dead_code, reason = "only files are read in parts"))]
    Torn,
    /// What plans extend, and complete.
    #[cfg_attr(not(feature = "lang"), allow(dead_code, reason = "only `.mem` has profiles"))]
    Profile,
}

impl RawBlock {
    /// What counts of it: of two settings or blocks of one name the first.
    pub(crate) fn counting(&self) -> impl Iterator<Item = &Entry> {
        let mut seen = HashSet::new();
        self.entries.iter().filter(move |entry| seen.insert(entry.name()))
    }
}

impl Entry {
    pub(crate) fn name(&self) -> &str {
        match self {
            Entry::Setting { name, .. } => name,
            Entry::Block(block) => &block.name,
        }
    }
}

/// What a block holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Entry {
    Setting { name: String, key: Range<usize>, item: Item, statement: Range<usize> },
    Block(RawBlock),
}

/// Checks a plan's block against the table; what is wrong is left out of the plan and added to `problems`.
pub(crate) fn check(mut raw: RawBlock, reading: Reading, source: &str, problems: &mut Vec<Problem>) -> Written {
    let mut written = Written::default();
    follow(&mut raw, reading == Reading::Profile, problems);
    let raw = &raw;
    let mut checker = Checker { source, reading, problems, spans: &mut written.spans };
    checker.place("plan", Place { key: raw.key.clone(), value: raw.body.clone(), statement: raw.statement.clone() });
    if let Some((name, span)) = &raw.head {
        written.name.clone_from(name);
        written.plan.name.clone_from(name);
        checker.place("name", Place { key: span.clone(), value: span.clone(), statement: span.clone() });
    }
    checker.block(&mut written.plan, raw, "");
    for (n, assert) in raw.asserts.iter().enumerate() {
        let span = || assert.span.clone();
        checker.place(format!("asserts[{n}]"), Place { key: span(), value: span(), statement: span() });
        written.plan.asserts.push(Assertion { that: assert.that.clone(), otherwise: assert.otherwise.clone() });
    }
    if reading == Reading::Whole
        && !raw.entries.iter().any(|entry| matches!(entry, Entry::Setting { name, .. } if name == "model"))
    {
        let at = raw.head.as_ref().map_or(&raw.key, |(_, span)| span).clone();
        problems.push(explain::missing_model(&written.name, at));
    }
    written
}

/// Sets one setting by its dotted path, for [`Plan::set`].
pub(crate) fn set(plan: &mut Plan, path: &str, value: &str) -> Result<(), String> {
    let (section, name): (&mut dyn Section, _) = match path.split_once('.') {
        Some((block, name)) => (plan.section(block).ok_or_else(|| format!("a plan has no block `{block}`"))?, name),
        None => (plan, path),
    };
    let setting =
        section.spec().setting(name).ok_or_else(|| format!("`{}` has no setting `{name}`", section.spec().name))?;
    let item = Item { value: Value::Word(value.to_owned()), span: 0..value.len() };
    let refused = |faults: Vec<Fault>| match faults
        .first()
        .and_then(|fault| explain::fault(name, setting.kind, &item, fault, value))
    {
        Some(problem) => problem.message,
        None => format!("`{name}` takes {}, got {value}", setting.kind),
    };
    if let Some(least) = setting.least
        && let Some(problem) = explain::below(name, least, &item, value)
    {
        return Err(problem.message);
    }
    section.set(name, &item).map_err(refused)
}

struct Checker<'a> {
    source: &'a str,
    reading: Reading,
    problems: &'a mut Vec<Problem>,
    spans: &'a mut Spans,
}

impl Checker<'_> {
    fn place(&mut self, path: impl Into<String>, place: Place) {
        self.spans.insert(path, place);
    }

    fn block(&mut self, section: &mut dyn Section, raw: &RawBlock, prefix: &str) {
        let mut seen: HashMap<&str, &Range<usize>> = HashMap::new();
        for entry in &raw.entries {
            let (name, key) = match entry {
                Entry::Setting { name, key, .. } => (name, key),
                Entry::Block(block) => (&block.name, &block.key),
            };
            let spec = section.spec();
            if (spec.setting(name).is_some() || spec.block(name).is_some())
                && let Some(first) = seen.insert(name, key)
            {
                // the first stands; the second is only a mistake
                self.problems.push(explain::duplicate(
                    name,
                    matches!(entry, Entry::Block(_)),
                    key.clone(),
                    first.clone(),
                ));
                seen.insert(name, first);
                continue;
            }
            match entry {
                Entry::Setting { name, key, item, statement } => {
                    let place = Place { key: key.clone(), value: item.span.clone(), statement: statement.clone() };
                    self.setting(section, name, item, place, prefix);
                }
                Entry::Block(block) => self.inner(section, block, prefix),
            }
        }
    }

    fn setting(&mut self, section: &mut dyn Section, name: &str, item: &Item, place: Place, prefix: &str) {
        let Some(setting) = section.spec().setting(name) else {
            self.problems.push(explain::unknown_setting(section.spec(), name, &place));
            return;
        };
        let path = format!("{prefix}{name}");
        if let Value::List(items) | Value::Fit(items) | Value::Sweep(items) = &item.value {
            for (n, element) in items.iter().enumerate() {
                let span = || element.span.clone();
                self.place(format!("{path}[{n}]"), Place { key: span(), value: span(), statement: span() });
            }
        }
        if section.spec().limits && !matches!(item.value, Value::Limit(..) | Value::Word(_) | Value::Hole) {
            self.problems.push(explain::not_a_limit(name, setting.kind, item, &place, self.source));
        } else if !section.spec().limits && matches!(item.value, Value::Limit(..)) {
            self.problems.push(explain::limit_outside(name, &place, self.source));
        } else if let Some(problem) = setting.least.and_then(|least| explain::below(name, least, item, self.source)) {
            self.problems.push(problem);
        } else if let Err(faults) = section.set(name, item) {
            let problems =
                faults.iter().filter_map(|fault| explain::fault(name, setting.kind, item, fault, self.source));
            self.problems.extend(problems);
        }
        self.place(path, place);
    }

    fn inner(&mut self, outer: &mut dyn Section, raw: &RawBlock, prefix: &str) {
        let spec = outer.spec();
        let Some(section) = outer.section(&raw.name) else {
            self.problems.push(explain::unknown_block(spec, raw));
            return;
        };
        let path = format!("{prefix}{}", raw.name);
        self.place(&*path, Place { key: raw.key.clone(), value: raw.body.clone(), statement: raw.statement.clone() });
        let inner: &'static Block = section.spec();
        match &raw.head {
            Some((kind, span)) if inner.kinds.is_empty() => {
                self.problems.push(explain::no_kind(inner, kind, span.clone(), &raw.key))
            }
            Some((kind, span)) => {
                self.place(
                    format!("{path}.kind"),
                    Place { key: span.clone(), value: span.clone(), statement: span.clone() },
                );
                if let Err(unknown) = section.set_head(kind) {
                    self.problems.push(explain::unknown_kind(inner, &unknown, span.clone()));
                }
            }
            None if !inner.kinds.is_empty() && self.reading != Reading::Profile => {
                self.problems.push(explain::missing_kind(inner, raw.key.clone()))
            }
            None => {}
        }
        self.block(section, raw, &format!("{path}."));
    }
}
