//! Profiles, and what a plan or profile gets from those that it extends: a deep merge by setting, in which what is written nearer wins.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::tree::Name;
use crate::plan::{Entry, Item, Problem, RawAssert, RawBlock, Source, Value, is_path};

/// What a profile gives to those who extend it.
#[derive(Clone, Debug)]
pub(super) struct Profile {
    /// The file that it stands in, and that its places are of.
    file: Rc<Source>,
    settings: Vec<Setting>,
    /// Where each of its blocks is.
    blocks: HashMap<String, Area>,
    asserts: Vec<(Origin, RawAssert)>,
    /// All of it could be read.
    pub(super) whole: bool,
}

#[derive(Clone, Debug)]
struct Setting {
    /// Its dotted path; what stands behind a block's name is `block.kind`.
    path: String,
    key: Range<usize>,
    item: Item,
    statement: Range<usize>,
    origin: Origin,
}

/// Where something was written first, also where that is another file.
#[derive(Clone, Debug)]
struct Origin {
    file: Rc<Source>,
    span: Range<usize>,
}

/// Where a block is.
#[derive(Clone, Debug)]
struct Area {
    key: Range<usize>,
    body: Range<usize>,
    statement: Range<usize>,
}

impl Profile {
    /// What a body writes itself. Of two settings of one name the first stands; what no plan has is left out.
    pub(super) fn of(raw: &RawBlock, file: &Rc<Source>, whole: bool) -> Self {
        let assert = |assert: &RawAssert| (Origin { file: file.clone(), span: assert.span.clone() }, assert.clone());
        let mut own = Profile {
            file: file.clone(),
            settings: Vec::new(),
            blocks: HashMap::new(),
            asserts: raw.asserts.iter().map(assert).collect(),
            whole,
        };
        own.collect(raw, "");
        own
    }

    fn collect(&mut self, raw: &RawBlock, prefix: &str) {
        for entry in raw.counting() {
            match entry {
                Entry::Setting { name, key, item, statement } => {
                    self.add(format!("{prefix}{name}"), key, item, statement);
                }
                Entry::Block(block) if prefix.is_empty() => {
                    let area =
                        Area { key: block.key.clone(), body: block.body.clone(), statement: block.statement.clone() };
                    self.blocks.insert(block.name.clone(), area);
                    if let Some((kind, span)) = &block.head {
                        let item = Item { value: Value::Word(kind.clone()), span: span.clone() };
                        self.add(format!("{}.kind", block.name), span, &item, span);
                    }
                    self.collect(block, &format!("{}.", block.name));
                }
                Entry::Block(_) => {}
            }
        }
    }

    fn add(&mut self, path: String, key: &Range<usize>, item: &Item, statement: &Range<usize>) {
        if is_path(&path) {
            let origin = Origin { file: self.file.clone(), span: statement.clone() };
            let (key, statement) = (key.clone(), statement.clone());
            self.settings.push(Setting { path, key, item: item.clone(), statement, origin });
        }
    }

    /// The same as seen from a file that has nothing of it but its name.
    fn seen_from(&self, file: &Rc<Source>, name: &Range<usize>) -> Self {
        if Rc::ptr_eq(&self.file, file) {
            return self.clone();
        }
        let area = Area { key: name.clone(), body: name.clone(), statement: name.clone() };
        Profile {
            file: file.clone(),
            settings: self
                .settings
                .iter()
                .map(|setting| Setting {
                    key: name.clone(),
                    item: setting.item.clone().moved(name),
                    statement: name.clone(),
                    ..setting.clone()
                })
                .collect(),
            blocks: self.blocks.keys().map(|block| (block.clone(), area.clone())).collect(),
            asserts: self
                .asserts
                .iter()
                .map(|(origin, assert)| (origin.clone(), RawAssert { span: name.clone(), ..assert.clone() }))
                .collect(),
            whole: self.whole,
        }
    }

    /// With what it extends. Two parents that say different things of a setting are a mistake where the profile does not say it itself.
    ///
    /// Whatever comes back second is inherited: paths of settings, and of blocks that the profile itself does not have.
    pub(super) fn extended(
        mut self,
        parents: &[(Name, Rc<Profile>)],
        problems: &mut Vec<Problem>,
    ) -> (Self, Inherited) {
        let mut at: HashMap<String, usize> =
            self.settings.iter().enumerate().map(|(n, setting)| (setting.path.clone(), n)).collect();
        let own = self.settings.len();
        let mut inherited = Inherited { own_asserts: self.asserts.len(), ..Inherited::default() };
        for (name, parent) in parents {
            let parent = parent.seen_from(&self.file, &name.span);
            self.whole &= parent.whole;
            for setting in parent.settings {
                match at.get(&setting.path) {
                    Some(&n) if n < own => {}
                    Some(&n) => self.compared(n, &setting, name, problems),
                    None => {
                        inherited.paths.insert(setting.path.clone());
                        at.insert(setting.path.clone(), self.settings.len());
                        self.settings.push(setting);
                    }
                }
            }
            for (block, area) in parent.blocks {
                self.blocks.entry(block).or_insert_with_key(|block| {
                    inherited.paths.insert(block.clone());
                    area
                });
            }
            for (origin, assert) in parent.asserts {
                if !self.asserts.iter().any(|(other, _)| other.same(&origin)) {
                    self.asserts.push((origin, assert));
                }
            }
        }
        (self, inherited)
    }

    fn compared(&self, n: usize, second: &Setting, name: &Name, problems: &mut Vec<Problem>) {
        let first = &self.settings[n];
        if first.origin.same(&second.origin) || first.item.value.same(&second.item.value) {
            return;
        }
        let message = format!("the profiles it extends disagree on `{}`", first.path);
        let mut problem = Problem::new("conflicting-parents", name.span.clone(), message);
        problem = problem.label("disagrees with the one before");
        for setting in [first, second] {
            let place = setting.origin.place(&self.file).unwrap_or_else(|| setting.statement.clone());
            problem = problem.related(place, setting.origin.shown(&self.file));
        }
        let said = match first.path.split_once('.') {
            Some((block, "kind")) => format!("{block} .. {{ }}"),
            Some((block, name)) => format!("{block} {{ {name} = .. }}"),
            None => format!("{} = ..", first.path),
        };
        problems.push(problem.help(format!("say it in place of both: `{said}`")));
    }

    /// Puts what is inherited into a body, so that it can be checked as if all of it stood there.
    pub(super) fn put(&self, raw: &mut RawBlock, inherited: &Inherited) {
        for setting in self.settings.iter().filter(|setting| inherited.paths.contains(&setting.path)) {
            let (key, item, statement) = (setting.key.clone(), setting.item.clone(), setting.statement.clone());
            match setting.path.split_once('.') {
                None => raw.entries.push(Entry::Setting { name: setting.path.clone(), key, item, statement }),
                Some((block, name)) => {
                    let Some(block) = self.block(raw, block) else { continue };
                    match item.value {
                        Value::Word(kind) if name == "kind" => block.head = Some((kind, key)),
                        _ => block.entries.push(Entry::Setting { name: name.to_owned(), key, item, statement }),
                    }
                }
            }
        }
        for block in self.blocks.keys().filter(|block| inherited.paths.contains(*block)) {
            self.block(raw, block);
        }
        raw.asserts = self.asserts.iter().map(|(_, assert)| assert.clone()).collect();
    }

    /// The block of that name, made where the body has none.
    fn block<'r>(&self, raw: &'r mut RawBlock, name: &str) -> Option<&'r mut RawBlock> {
        let found = raw.entries.iter().position(|entry| matches!(entry, Entry::Block(block) if block.name == name));
        let at = match found {
            Some(at) => at,
            None => {
                let Area { key, body, statement } = self.blocks.get(name)?.clone();
                let block = RawBlock {
                    name: name.to_owned(),
                    key,
                    head: None,
                    entries: Vec::new(),
                    asserts: Vec::new(),
                    body,
                    statement,
                };
                raw.entries.push(Entry::Block(block));
                raw.entries.len() - 1
            }
        };
        match &mut raw.entries[at] {
            Entry::Block(block) => Some(block),
            Entry::Setting { .. } => None,
        }
    }
}

/// What of a plan stands elsewhere.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    paths: HashSet<String>,
    /// How many asserts are the body's own; they come first.
    own_asserts: usize,
}

impl Inherited {
    /// Whether the path, or the setting that it is an element of, stands in a profile.
    pub(super) fn has(&self, path: &str) -> bool {
        let (whole, element) = path.split_once('[').unwrap_or((path, ""));
        if whole == "asserts" {
            return element.trim_end_matches(']').parse::<usize>().is_ok_and(|n| n >= self.own_asserts);
        }
        self.paths.contains(whole)
    }
}

impl Origin {
    fn same(&self, other: &Origin) -> bool {
        Rc::ptr_eq(&self.file, &other.file) && self.span == other.span
    }

    /// The statement, on one line.
    fn written(&self) -> String {
        let text = self.file.text.get(self.span.clone()).unwrap_or_default();
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.chars().count() > 60 { line.chars().take(57).chain("...".chars()).collect() } else { line }
    }

    /// Its place, where it is in that file.
    fn place(&self, file: &Rc<Source>) -> Option<Range<usize>> {
        Rc::ptr_eq(&self.file, file).then(|| self.span.clone())
    }

    /// What it says, with its place where that is another file.
    fn shown(&self, file: &Rc<Source>) -> String {
        match self.place(file) {
            Some(_) => format!("says `{}`", self.written()),
            None => format!(
                "says `{}` in {}, line {}",
                self.written(),
                self.file.name,
                self.file.position(self.span.start).0
            ),
        }
    }
}
