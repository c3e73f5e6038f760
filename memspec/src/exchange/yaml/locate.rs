//! Where the keys and values of a YAML or JSON text stand.
//!
//! The values come without places, so this reads the text a second time for places only. What an alias stands for is where its anchor is: a mistake in it
//! is mended there. It never decides what a value is; where the text ends being YAML, the places before that are known.

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::plan::Place;

/// Aliases in aliases, and merges in merges, are followed this far. What the reader accepts is never so deep.
const MOST_DEEP: usize = 128;
/// What a key goes by that is no text.
pub(super) const UNNAMED: &str = "?";
/// Stand for `.` and `[` in the names of a path.
const DOT: char = '\u{1}';
const BRACKET: char = '\u{2}';

/// The path of a name below a path.
pub(super) fn join(path: &str, name: &str) -> String {
    let name = name.replace('.', &DOT.to_string()).replace('[', &BRACKET.to_string());
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The keys and values of a text, with their places.
#[derive(Debug, Default)]
pub(in crate::exchange) struct Places {
    nodes: Vec<Node>,
    /// The first document's value.
    root: Option<usize>,
    /// Keys that stand twice in one mapping: the name, the first and the second.
    pub(super) twice: Vec<(String, Range<usize>, Range<usize>)>,
    /// Where a second document begins.
    pub(super) second: Option<Range<usize>>,
    /// Why, and where, the text is no YAML.
    pub(super) error: Option<ScanError>,
    /// The brackets that were open there, from the outermost.
    pub(super) unclosed: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Node {
    span: Range<usize>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Scalar,
    Sequence(Vec<usize>),
    Mapping(HashMap<String, Member>),
    /// Another name for that node.
    Alias(Option<usize>),
}

#[derive(Clone, Debug)]
struct Member {
    key: Range<usize>,
    value: usize,
}

impl Places {
    /// The places of a text.
    pub(in crate::exchange) fn of(text: &str) -> Places {
        // as the reader of values takes it
        let options = granit_parser::options! { bom_inside_document_as_content: true };
        let mut builder = Builder { text, places: Places::default(), open: Vec::new(), anchors: HashMap::new() };
        for event in Parser::new_from_str_with_options(text, options) {
            match event {
                Ok((event, span)) => builder.event(event, span),
                Err(error) => {
                    let nodes = &builder.places.nodes;
                    let unclosed =
                        builder.open.iter().filter(|open| open.flow).map(|open| nodes[open.node].span.clone());
                    builder.places.unclosed = unclosed.collect();
                    builder.places.error = Some(error);
                    break;
                }
            }
            if builder.places.second.is_some() {
                break;
            }
        }
        while !builder.open.is_empty() {
            builder.close(text.len());
        }
        builder.places
    }

    /// The place of a path such as `train.micro_batch`, `plans[0].model` or `adapter.targets[1]`, or of the innermost thing around it.
    pub(in crate::exchange) fn place(&self, path: &str) -> Place {
        self.walk(path).0
    }

    /// The first key below the path.
    pub(in crate::exchange) fn first(&self, path: &str) -> Range<usize> {
        let node = if path.is_empty() { self.root } else { self.walk(path).1 };
        match node.and_then(|node| self.meant(node)).map(|node| &self.nodes[node].kind) {
            Some(Kind::Mapping(members)) => {
                members.values().map(|member| member.key.clone()).min_by_key(|key| key.start).unwrap_or_default()
            }
            _ => self.place(path).key,
        }
    }

    /// The whole value of the text.
    pub(in crate::exchange) fn whole(&self) -> Range<usize> {
        self.root.map(|root| self.nodes[root].span.clone()).unwrap_or_default()
    }

    /// A value that is merged (`<<: value`) and is no mapping.
    pub(super) fn merged_wrongly(&self) -> Option<Range<usize>> {
        let mapping =
            |node: usize| matches!(self.meant(node).map(|node| &self.nodes[node].kind), Some(Kind::Mapping(_)));
        self.nodes.iter().find_map(|node| {
            let Kind::Mapping(members) = &node.kind else { return None };
            let merged = members.get("<<")?.value;
            let right = match &self.nodes[self.meant(merged)?].kind {
                Kind::Sequence(items) => items.iter().all(|item| mapping(*item)),
                kind => matches!(kind, Kind::Mapping(_)),
            };
            (!right).then(|| self.nodes[merged].span.clone())
        })
    }

    /// The place of the path or of what is around it; its value, where all of the path is there.
    fn walk(&self, path: &str) -> (Place, Option<usize>) {
        let (mut rest, mut place, mut node) = (path, Place::default(), self.root);
        while let Some(at) = node.filter(|_| !rest.is_empty()) {
            let Some((member, after)) = self.step(at, rest) else { return (place, None) };
            let value = self.nodes[member.value].span.clone();
            // what an anchor holds is no part of the text at the alias
            let statement = member.key.start.min(value.start)..value.end.max(member.key.end);
            place = Place { key: member.key, value, statement };
            (rest, node) = (after, Some(member.value));
        }
        (place, node)
    }

    /// From a node to what the beginning of the path names in it, and the rest of the path.
    fn step<'p>(&self, node: usize, path: &'p str) -> Option<(Member, &'p str)> {
        match &self.nodes[self.meant(node)?].kind {
            Kind::Sequence(items) => {
                let (number, rest) = path.strip_prefix('[')?.split_once(']')?;
                let value = *items.get(number.parse::<usize>().ok()?)?;
                Some((Member { key: self.nodes[value].span.clone(), value }, rest.strip_prefix('.').unwrap_or(rest)))
            }
            Kind::Mapping(_) => {
                let end = path.find(['.', '[']).unwrap_or(path.len());
                let name = path[..end].replace(DOT, ".").replace(BRACKET, "[");
                let member = self.member(node, &name, MOST_DEEP)?;
                Some((member, path[end..].strip_prefix('.').unwrap_or(&path[end..])))
            }
            _ => None,
        }
    }

    /// A mapping's member of that name: its own, or one that it merges (`<<: *base`).
    fn member(&self, node: usize, name: &str, deep: usize) -> Option<Member> {
        match &self.nodes[self.meant(node)?].kind {
            Kind::Mapping(members) => members.get(name).cloned().or_else(|| {
                let merged = members.get("<<").filter(|_| deep > 0)?;
                self.member(merged.value, name, deep - 1)
            }),
            // several are merged, the first one goes before the others
            Kind::Sequence(items) if deep > 0 && deep < MOST_DEEP => {
                items.iter().find_map(|item| self.member(*item, name, deep - 1))
            }
            _ => None,
        }
    }

    /// What a node is when aliases are followed.
    fn meant(&self, mut node: usize) -> Option<usize> {
        for _ in 0..MOST_DEEP {
            match self.nodes[node].kind {
                Kind::Alias(target) => node = target?,
                _ => return Some(node),
            }
        }
        None
    }
}

/// A collection that is still open.
struct Open {
    node: usize,
    /// It is closed by a character of its own.
    flow: bool,
    /// Where what it holds ends so far.
    end: usize,
    /// In a mapping, the key whose value comes next.
    key: Option<(String, Range<usize>)>,
}

struct Builder<'t> {
    text: &'t str,
    places: Places,
    open: Vec<Open>,
    anchors: HashMap<usize, usize>,
}

impl Builder<'_> {
    fn event(&mut self, event: Event, span: Span) {
        let span = span.byte_range().unwrap_or_default();
        let anchor = event.anchor_id();
        match event {
            Event::DocumentStart(..) if self.places.root.is_some() => self.places.second = Some(span),
            Event::Scalar(value, style, ..) => {
                let span = self.scalar(span, style);
                self.node(span, Kind::Scalar, Some(key_name(&value, style)), anchor);
            }
            Event::Alias(id) => {
                let target = self.anchors.get(&id).copied();
                self.node(span, Kind::Alias(target), None, None);
            }
            Event::SequenceStart(..) => self.collection(span, Kind::Sequence(Vec::new()), anchor),
            Event::MappingStart(..) => self.collection(span, Kind::Mapping(HashMap::new()), anchor),
            Event::SequenceEnd | Event::MappingEnd => self.close(span.end),
            _ => {}
        }
    }

    /// The bytes of a scalar: a block's from its sign on and without the space below it, an empty one's right behind its key.
    fn scalar(&self, span: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let behind = self.open.last().map_or(0, |open| open.key.as_ref().map_or(open.end, |(_, key)| key.end));
        match style {
            ScalarStyle::Literal | ScalarStyle::Folded => {
                let header = self.text.get(behind..span.start).unwrap_or_default();
                let start = header.find(['|', '>']).map_or(span.start, |at| behind + at);
                start..start + self.text.get(start..span.end).unwrap_or_default().trim_end().len()
            }
            _ => span,
        }
    }

    /// A node in what is open: a key of it, or a value. `name`: what it is called as a key.
    fn node(&mut self, span: Range<usize>, kind: Kind, name: Option<String>, anchor: Option<usize>) -> usize {
        let number = self.places.nodes.len();
        let end = span.end;
        if let Some(anchor) = anchor {
            self.anchors.insert(anchor, number);
        }
        match self.open.last_mut() {
            None => _ = self.places.root.get_or_insert(number),
            Some(open) => {
                open.end = open.end.max(end);
                match &mut self.places.nodes[open.node].kind {
                    Kind::Sequence(items) => items.push(number),
                    Kind::Mapping(members) => match open.key.take() {
                        None => open.key = Some((name.unwrap_or_else(|| UNNAMED.to_owned()), span.clone())),
                        Some((name, key)) => match members.get(&name) {
                            Some(_) if name == UNNAMED => {}
                            Some(first) => self.places.twice.push((name, first.key.clone(), key)),
                            None => _ = members.insert(name, Member { key, value: number }),
                        },
                    },
                    Kind::Scalar | Kind::Alias(_) => {}
                }
            }
        }
        self.places.nodes.push(Node { span, kind });
        number
    }

    fn collection(&mut self, span: Range<usize>, kind: Kind, anchor: Option<usize>) {
        let flow = !span.is_empty();
        let end = span.end;
        let node = self.node(span, kind, None, anchor);
        self.open.push(Open { node, flow, end, key: None });
    }

    /// The innermost collection ends: one in brackets behind its bracket, any other behind what it holds.
    fn close(&mut self, at: usize) {
        let Some(closed) = self.open.pop() else { return };
        let span = &mut self.places.nodes[closed.node].span;
        span.end = if closed.flow { at } else { closed.end };
        let span = span.clone();
        if let Some(outer) = self.open.last_mut() {
            outer.end = outer.end.max(span.end);
            // a collection as a key
            if let Some((_, key)) = &mut outer.key
                && key.start == span.start
            {
                key.end = span.end;
            }
        }
    }
}

/// The name of a key as the reader of values has it.
fn key_name(value: &str, style: ScalarStyle) -> String {
    match value {
        "~" | "null" | "Null" | "NULL" | "" if style == ScalarStyle::Plain => UNNAMED.to_owned(),
        _ => value.to_owned(),
    }
}
