//! Where the keys and values of a YAML or JSON text stand.
//!
//! The YAML parser gives values without places, so this reads the text a second time for places only: block and flow
//! mappings and sequences, quoted and plain scalars. What it does not understand (anchors, keys over several lines) has
//! the place of what is around it; it never decides what a value is.

use std::collections::HashMap;
use std::ops::Range;

use super::join;
use crate::plan::Place;

/// Flow collections deeper than this are not looked into; the YAML parser refuses them before.
const MOST_DEEP: usize = 128;

/// Places by path: `train.micro_batch`, `plans[0].model`, `adapter.targets[1]`.
#[derive(Debug, Default)]
pub(in crate::exchange) struct Places(HashMap<String, Place>);

impl Places {
    /// The places of a text.
    pub(in crate::exchange) fn of(text: &str) -> Places {
        let mut locator = Locator { text, places: Places::default(), open: Vec::new(), counts: HashMap::new() };
        let mut at = 0;
        while at < text.len() {
            at = locator.line(at);
        }
        locator.places
    }

    /// The place of the path, or of the innermost thing around it.
    pub(in crate::exchange) fn place(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.clone();
            }
            match path.rfind(['.', '[']) {
                Some(end) => path = &path[..end],
                None => return Place::default(),
            }
        }
    }

    /// The first key below the path.
    pub(in crate::exchange) fn first(&self, path: &str) -> Range<usize> {
        let below = |key: &&String| path.is_empty() || key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        let keys = self.0.iter().filter(|(key, _)| below(key));
        keys.map(|(_, place)| place.key.clone()).min_by_key(|key| key.start).unwrap_or_default()
    }

    fn note(&mut self, path: &str, key: Range<usize>, value: Range<usize>) {
        let statement = key.start.min(value.start)..value.end.max(key.end);
        self.0.entry(path.to_owned()).or_insert(Place { key, value, statement });
    }

    /// Lets the value of the path reach to `end`.
    fn reach(&mut self, path: &str, span: &Range<usize>) {
        if let Some(place) = self.0.get_mut(path) {
            if place.value.is_empty() {
                place.value = span.clone();
            }
            place.value.end = place.value.end.max(span.end);
            place.statement.end = place.statement.end.max(span.end);
        }
    }
}

/// A key or sequence item of block style that is still open.
struct Open {
    indent: usize,
    path: String,
    item: bool,
}

struct Locator<'a> {
    text: &'a str,
    places: Places,
    open: Vec<Open>,
    /// How many items each sequence has had.
    counts: HashMap<String, usize>,
}

impl Locator<'_> {
    /// Reads the line that begins at `start`, and the lines that its value goes on for; gives where the next begins.
    fn line(&mut self, start: usize) -> usize {
        let end = self.line_end(start);
        let line = &self.text[start..end];
        let mut at = start + (line.len() - line.trim_start_matches(' ').len());
        let rest = self.text[at..end].trim_end();
        if rest.is_empty() || rest.starts_with('#') || rest.starts_with("---") || rest.starts_with('%') {
            return end;
        }
        while self.text[at..end].starts_with("- ") || self.text[at..end].trim_end() == "-" {
            self.item(at, at - start);
            at += 1;
            at += self.text[at..end].len() - self.text[at..end].trim_start_matches(' ').len();
        }
        if at >= end || self.text[at..end].trim().is_empty() {
            return end;
        }
        let path = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
        let Some((key, name, after)) = self.key(at, end) else {
            // a scalar or flow collection: an item's value, or the whole text
            let (value, next) = self.value(at, end, &path, 0);
            self.reach_all(&value);
            return next;
        };
        let indent = at - start;
        while self.open.last().is_some_and(|open| open.indent >= indent) {
            self.open.pop();
        }
        let path = join(self.open.last().map_or("", |open| &open.path), &name);
        let gap = self.text[after..end].len() - self.text[after..end].trim_start_matches([' ', '\t']).len();
        let rest = self.text[after + gap..end].trim_end();
        self.open.push(Open { indent, path: path.clone(), item: false });
        if rest.is_empty() || rest.starts_with('#') {
            self.places.note(&path, key.clone(), key.end..key.end);
            self.reach_all(&key);
            return end;
        }
        self.places.note(&path, key, after + gap..after + gap);
        if rest.starts_with(['|', '>']) {
            return self.block_scalar(end, indent);
        }
        let (value, next) = self.value(after + gap, end, &path, 0);
        self.reach_all(&value);
        next
    }

    fn line_end(&self, start: usize) -> usize {
        self.text[start..].find('\n').map_or(self.text.len(), |length| start + length + 1)
    }

    /// A `-` at that indent.
    fn item(&mut self, at: usize, indent: usize) {
        while self.open.last().is_some_and(|open| open.indent > indent || (open.indent == indent && open.item)) {
            self.open.pop();
        }
        let sequence = self.open.last().map(|open| open.path.clone()).unwrap_or_default();
        let count = self.counts.entry(sequence.clone()).or_default();
        let path = format!("{sequence}[{count}]");
        *count += 1;
        self.places.note(&path, at..at + 1, at + 1..at + 1);
        self.open.push(Open { indent, path, item: true });
    }

    /// A span belongs to everything that is open around it.
    fn reach_all(&mut self, span: &Range<usize>) {
        for open in &self.open {
            self.places.reach(&open.path, span);
        }
    }

    /// `key:` at `at`: its span, its name, and where its value may begin.
    fn key(&self, at: usize, end: usize) -> Option<(Range<usize>, String, usize)> {
        let rest = &self.text[at..end];
        let length = match rest.chars().next()? {
            quote @ ('"' | '\'') => quoted(rest, quote),
            '{' | '[' => return None,
            _ => rest.find(": ").or_else(|| rest.trim_end().strip_suffix(':').map(str::len))?,
        };
        let after = rest[length..].trim_start_matches(' ').strip_prefix(':')?;
        let name = rest[..length].trim_end();
        Some((at..at + name.len(), name.trim_matches(['"', '\'']).to_owned(), end - after.len()))
    }

    /// The lines of a `|` or `>` text.
    fn block_scalar(&mut self, mut at: usize, indent: usize) -> usize {
        while at < self.text.len() {
            let end = self.line_end(at);
            let line = &self.text[at..end];
            let blank = line.trim().is_empty();
            if !blank && line.len() - line.trim_start_matches(' ').len() <= indent {
                break;
            }
            if !blank {
                self.reach_all(&(at..at + line.trim_end().len()));
            }
            at = end;
        }
        at
    }

    /// A value on one line, or a flow collection over several; its span, and where the next line begins.
    fn value(&mut self, at: usize, end: usize, path: &str, depth: usize) -> (Range<usize>, usize) {
        let rest = &self.text[at..];
        let length = match rest.chars().next() {
            Some('{' | '[') => self.flow(at, path, depth) - at,
            Some(quote @ ('"' | '\'')) => quoted(rest, quote),
            _ => {
                let line = &self.text[at..end];
                let line = line.find(" #").map_or(line, |comment| &line[..comment]);
                line.trim_end().len()
            }
        };
        let span = at..at + length;
        let next = if span.end > end { self.line_end(span.end) } else { end };
        (span, next)
    }

    /// `{..}` or `[..]`: where it ends.
    fn flow(&mut self, at: usize, path: &str, depth: usize) -> usize {
        let mapping = self.text[at..].starts_with('{');
        let mut at = at + 1;
        let mut count = 0;
        loop {
            at = self.blank(at);
            let rest = &self.text[at..];
            match rest.chars().next() {
                None => return self.text.len(),
                Some('}' | ']') => return at + 1,
                Some(',' | ':') => at += 1,
                Some(_) if depth >= MOST_DEEP => return self.text.len(),
                Some(_) if mapping => {
                    let key = self.scalar(at);
                    let name = self.text[key.clone()].trim_matches(['"', '\'']);
                    let path = join(path, name);
                    let colon = self.blank(key.end);
                    let start = if self.text[colon..].starts_with(':') { self.blank(colon + 1) } else { key.end };
                    let value = self.flow_value(start, &path, depth);
                    at = value.end.max(key.end);
                    self.places.note(&path, key, value);
                }
                Some(_) => {
                    let path = format!("{path}[{count}]");
                    count += 1;
                    let value = self.flow_value(at, &path, depth);
                    at = value.end.max(at + 1);
                    self.places.note(&path, value.clone(), value);
                }
            }
            while !self.text.is_char_boundary(at) {
                at += 1;
            }
        }
    }

    fn flow_value(&mut self, at: usize, path: &str, depth: usize) -> Range<usize> {
        if self.text[at..].starts_with(['{', '[']) { at..self.flow(at, path, depth + 1) } else { self.scalar(at) }
    }

    /// A quoted or plain scalar of flow style.
    fn scalar(&self, at: usize) -> Range<usize> {
        let rest = &self.text[at..];
        let length = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => quoted(rest, quote),
            _ => {
                let stop = |(n, c): &(usize, char)| {
                    let after = rest[n + c.len_utf8()..].chars().next();
                    matches!(c, ',' | ']' | '}' | '\n')
                        || (*c == ':' && after.is_none_or(|c| c.is_whitespace() || c == ','))
                };
                rest[..rest.char_indices().find(stop).map_or(rest.len(), |(n, _)| n)].trim_end().len()
            }
        };
        at..at + length
    }

    /// Passes over spaces, newlines and comments.
    fn blank(&self, mut at: usize) -> usize {
        loop {
            let rest = &self.text[at..];
            at += rest.len() - rest.trim_start().len();
            if !self.text[at..].starts_with('#') {
                return at;
            }
            at = self.line_end(at);
        }
    }
}

/// The length of the quoted scalar that `rest` begins with.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' if quote == '"' => _ = characters.next(),
            _ if character == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}
