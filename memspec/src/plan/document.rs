//! What reading a file gives: its plans, where their settings are written, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

use super::{Plan, Problem};
use crate::exchange::foreign::Foreign;

/// A text and the name it goes by in reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file's path, or any name for a text from elsewhere.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// A file that was read. Reading never stops at a mistake: `plans` holds what could be understood, `problems` the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// What was read.
    pub source: Source,
    /// Its plans, in order.
    pub plans: Vec<Written>,
    /// What is wrong with it, in order of place.
    pub problems: Vec<Problem>,
    /// The findings that its comments allow.
    pub allows: Vec<Allow>,
    /// It is another trainer's file, whose plan this is.
    pub foreign: Option<Foreign>,
    /// The files that it imports, directly or through others; also those that are not there.
    pub imports: Vec<PathBuf>,
}

/// A plan and where it is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Written {
    /// The plan's name.
    pub name: String,
    /// The plan.
    pub plan: Plan,
    /// Where each of its settings is.
    pub spans: Spans,
}

/// Where a setting or block stands: byte ranges of the source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub key: Range<usize>,
    /// Its value; for a block, its body with the braces.
    pub value: Range<usize>,
    /// All of it.
    pub statement: Range<usize>,
}

/// Where the parts of a plan are written, by dotted path.
///
/// `model`, `train`, `train.micro_batch`, `budget.device_memory`; `adapter.kind` for what stands after a block's name;
/// `train.micro_batch[1]` for an element of a list, `fit` or `sweep`; `plan` for the plan itself and `name` for its name.
///
/// What a plan inherits stands in a profile of the same file, or, from an imported file, at the name behind `extends`. `asserts[0]` is
/// the first assert. A plan made in code has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    places: BTreeMap<String, Place>,
    /// The paths that stand in a profile that the plan extends.
    inherited: BTreeSet<String>,
}

/// A comment that allows findings: `# memspec: allow(thin-headroom) measured on this machine`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// The names or codes of the findings, and where each stands.
    pub names: Vec<(String, Range<usize>)>,
    /// Why, in the author's words; empty when none are given.
    pub reason: String,
    /// The whole comment.
    pub span: Range<usize>,
    /// It holds for the whole file (`file-allow`), not only for its line or the line below it.
    pub file: bool,
}

impl Source {
    /// The line and column of a byte, both from 1; columns count characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.before(offset);
        (before.matches('\n').count() + 1, before[self.line_start(offset)..].chars().count() + 1)
    }

    /// The first byte of the line that holds the byte.
    pub fn line_start(&self, offset: usize) -> usize {
        self.before(offset).rfind('\n').map_or(0, |at| at + 1)
    }

    /// The text before a byte; inside of a character it is that before the character.
    fn before(&self, offset: usize) -> &str {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        &self.text[..offset]
    }
}

impl Document {
    /// The plan of that name.
    pub fn plan(&self, name: &str) -> Option<&Written> {
        self.plans.iter().find(|written| written.name == name)
    }

    /// The problem with this document's text, as a diagnostic that miette can show.
    #[cfg(feature = "report")]
    pub fn report(&self, problem: &Problem) -> super::Report {
        super::Report::new(&self.source, problem)
    }
}

impl From<Plan> for Written {
    /// A plan made in code, which stands nowhere.
    fn from(plan: Plan) -> Self {
        Written { name: plan.name.clone(), plan, spans: Spans::default() }
    }
}

impl Spans {
    /// Where the path is written.
    pub fn get(&self, path: &str) -> Option<&Place> {
        self.places.get(path)
    }

    /// Where the path is written, or else the block around it, or else the plan.
    pub fn nearest(&self, path: &str) -> Option<&Place> {
        let block = path.split(['.', '[']).next().unwrap_or(path);
        self.get(path).or_else(|| self.get(block)).or_else(|| self.get("plan"))
    }

    /// Every path and its place, in order of path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Place)> {
        self.places.iter().map(|(path, place)| (path.as_str(), place))
    }

    /// The path whose key, value or statement holds the byte; the innermost one.
    pub fn at(&self, offset: usize) -> Option<&str> {
        self.iter()
            .filter(|(_, place)| place.statement.contains(&offset) || place.statement.end == offset)
            .min_by_key(|(path, place)| (place.statement.len(), std::cmp::Reverse(path.len())))
            .map(|(path, _)| path)
    }

    /// Forgets paths that stand nowhere.
    #[cfg(feature = "yaml")]
    pub(crate) fn drop_empty(&mut self) {
        self.places.retain(|_, place| !place.statement.is_empty());
    }

    /// Notes where a path is written; a later note of the same path is dropped.
    pub fn insert(&mut self, path: impl Into<String>, place: Place) {
        self.places.entry(path.into()).or_insert(place);
    }

    /// Whether the path is written in a profile that the plan extends, and not in the plan.
    pub fn is_inherited(&self, path: &str) -> bool {
        self.inherited.contains(path)
    }

    /// What the plan itself writes.
    pub fn own(&self) -> Spans {
        let own = self.places.iter().filter(|(path, _)| !self.is_inherited(path));
        Spans { places: own.map(|(path, place)| (path.clone(), place.clone())).collect(), inherited: BTreeSet::new() }
    }

    /// Notes which paths are written in a profile.
    #[cfg_attr(not(feature = "lang"), allow(dead_code, reason = "only `.mem` has profiles"))]
    pub(crate) fn inherit(&mut self, inherited: impl Fn(&str) -> bool) {
        self.inherited = self.places.keys().filter(|path| inherited(path)).cloned().collect();
    }
}

impl Allow {
    /// Reads every allowing comment among `comments`, each a byte range of `text` that begins with `#`.
    pub(crate) fn collect(text: &str, comments: impl Iterator<Item = Range<usize>>) -> Vec<Allow> {
        comments.filter_map(|span| Allow::read(text, span)).collect()
    }

    fn read(text: &str, span: Range<usize>) -> Option<Allow> {
        let comment = text.get(span.clone())?;
        let rest = comment.trim_start_matches('#').trim_start().strip_prefix("memspec:")?.trim_start();
        let (file, rest) = match rest.strip_prefix("file-allow") {
            Some(rest) => (true, rest),
            None => (false, rest.strip_prefix("allow")?),
        };
        let rest = rest.trim_start().strip_prefix('(')?;
        let (list, reason) = rest.split_once(')')?;
        let mut start = span.end - rest.len();
        let mut names = Vec::new();
        for part in list.split(',') {
            let name = part.trim();
            if !name.is_empty() {
                let from = start + (part.len() - part.trim_start().len());
                names.push((name.to_owned(), from..from + name.len()));
            }
            start += part.len() + 1;
        }
        let reason = reason.trim().trim_start_matches([':', '-']).trim_start().to_owned();
        Some(Allow { names, reason, span, file })
    }
}
