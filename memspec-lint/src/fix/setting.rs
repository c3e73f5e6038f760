//! Giving a setting a value in the text: replacing what is written, or inserting it where it belongs.

use std::ops::Range;

use memspec::exchange::foreign::{self, Edited};
use memspec::plan::{Document, Edit, Place, Plan, Spans, apply, read_text};

use super::literal;

/// The edits that give settings of the plan with that index values (as `.mem` writes them).
///
/// What is written is replaced; what the plan inherits is overridden in it; a setting or block that is not there is inserted after the others of its block, with the
/// file's indentation. `quantize` or `adapter` alone is the block with that kind: `[("quantize", "nf4")]`. In another trainer's file it is
/// that trainer's keys which change.
///
/// Nothing comes back for a plan that is not there, a path that no plan has, or what that trainer cannot say.
pub fn edit_settings(document: &Document, plan: usize, settings: &[(&str, String)]) -> Option<Vec<Edit>> {
    if document.foreign.is_some() {
        return edit_foreign(document, settings).filter(|_| plan == 0).map(|edited| edited.edits);
    }
    if let [(path, value)] = settings {
        return Some(vec![edit_setting(document, plan, path, value)?]);
    }
    // One after the other, as the second may go into a block that the first makes.
    let mut now = document.clone();
    for (path, value) in settings {
        let edit = edit_setting(&now, plan, path, value)?;
        now = read_text(now.source.name.clone(), apply(&now.source.text, &[edit])?);
    }
    Some(difference(&document.source.text, &now.source.text))
}

/// What another trainer's file becomes with other values of some settings.
pub(crate) fn edit_foreign<P: AsRef<str>>(document: &Document, settings: &[(P, String)]) -> Option<Edited> {
    foreign::edit(document, |plan| with_settings(plan, settings))
}

/// A plan with other values of some settings.
pub(crate) fn with_settings<P: AsRef<str>>(plan: &Plan, settings: &[(P, String)]) -> Option<Plan> {
    let mut plan = plan.clone();
    for (path, value) in settings {
        match path.as_ref() {
            "quantize" => plan.quantize.get_or_insert_default().kind = value.parse().ok()?,
            "adapter" => plan.adapter.get_or_insert_default().kind = value.parse().ok()?,
            path => plan.set(path, value).ok()?,
        }
    }
    Some(plan)
}

/// The edit of a text of our own that gives one setting a value.
fn edit_setting(document: &Document, plan: usize, path: &str, value: &str) -> Option<Edit> {
    let spans = &document.plans.get(plan)?.spans.own();
    let (block, name) = match path.split_once('.') {
        Some((block, name)) => (Some(block), name),
        None if Plan::SPEC.block(path).is_some() => (Some(path), "kind"),
        None => (None, path),
    };
    let full = block.map_or_else(|| name.to_owned(), |block| format!("{block}.{name}"));
    let value = literal(document, &full, value);
    if let Some(place) = spans.get(&full) {
        return Some(Edit { range: place.value.clone(), text: value });
    }
    if name != "kind" && Plan::setting(&full).is_none() {
        return None;
    }
    let sheet = Sheet::new(document, spans);
    match block {
        Some(block) => match spans.get(block) {
            Some(place) => sheet.insert(&place.value, Some(place), block, &sheet.setting(block, name, &value, 1)),
            None => sheet.insert(&spans.get("plan")?.value, None, "", &sheet.block(block, name, &value)),
        },
        None => sheet.insert(&spans.get("plan")?.value, None, "", &sheet.setting("", name, &value, 0)),
    }
}

/// The edits between two texts, each of whole lines.
fn difference(before: &str, after: &str) -> Vec<Edit> {
    let diff = similar::TextDiff::from_lines(before, after);
    let starts = |lines: &[&str]| {
        let mut at = 0;
        let mut starts = vec![0];
        starts.extend(lines.iter().map(|line| {
            at += line.len();
            at
        }));
        starts
    };
    let (old, new) = (starts(diff.old_slices()), starts(diff.new_slices()));
    diff.ops()
        .iter()
        .filter(|op| op.tag() != similar::DiffTag::Equal)
        .map(|op| Edit {
            range: old[op.old_range().start]..old[op.old_range().end],
            text: after[new[op.new_range().start]..new[op.new_range().end]].to_owned(),
        })
        .collect()
}

/// What is inserted: as lines of a block, and as one line.
struct Text {
    /// Lines with their indentation.
    lines: String,
    /// For a block that stands on one line.
    line: String,
    /// A blank line goes before it.
    apart: bool,
}

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Notation {
    Mem,
    Yaml,
    Json,
}

struct Sheet<'a> {
    text: &'a str,
    spans: &'a Spans,
    notation: Notation,
    /// Of the settings of the plan.
    indent: String,
}

impl<'a> Sheet<'a> {
    fn new(document: &'a Document, spans: &'a Spans) -> Self {
        let text = document.source.text.as_str();
        let notation = match document.source.name.rsplit('.').next() {
            Some("json") => Notation::Json,
            Some("yaml" | "yml") => Notation::Yaml,
            _ => Notation::Mem,
        };
        let first = spans.iter().find(|(path, _)| Plan::setting(path).is_some() && !path.contains('.'));
        let indent = first.map_or_else(
            || if notation == Notation::Yaml { String::new() } else { "  ".to_owned() },
            |(_, place)| indentation(text, place.statement.start).to_owned(),
        );
        Self { text, spans, notation, indent }
    }

    /// One step further in, as the file does it.
    fn step(&self) -> &str {
        match (self.indent.is_empty(), self.indent.starts_with('\t')) {
            (false, true) => "\t",
            (false, false) if self.notation == Notation::Mem => &self.indent,
            _ => "  ",
        }
    }

    fn setting(&self, block: &str, name: &str, value: &str, depth: usize) -> Text {
        let indent = match self.last(block) {
            Some(last) => indentation(self.text, last.statement.start).to_owned(),
            None => format!("{}{}", self.indent, self.step().repeat(depth)),
        };
        let line = match self.notation {
            Notation::Mem => format!("{name} = {value}"),
            Notation::Yaml => format!("{name}: {value}"),
            Notation::Json => format!("\"{name}\": {value}"),
        };
        // In a run of aligned `=` the new one keeps to the line.
        let aligned = match self.last(block).and_then(|last| self.equals_column(&last)) {
            Some(column) if self.notation == Notation::Mem && column > name.len() => {
                format!("{name:column$}= {value}")
            }
            _ => line.clone(),
        };
        Text { lines: format!("{indent}{aligned}"), line, apart: false }
    }

    fn block(&self, block: &str, name: &str, value: &str) -> Text {
        let (indent, step) = (&self.indent, self.step());
        let kind = name == "kind";
        let (lines, line) = match self.notation {
            Notation::Mem if kind => (format!("{indent}{block} {value} {{ }}"), format!("{block} {value} {{ }}")),
            Notation::Mem => (
                format!("{indent}{block} {{\n{indent}{step}{name} = {value}\n{indent}}}"),
                format!("{block} {{ {name} = {value} }}"),
            ),
            Notation::Yaml => {
                (format!("{indent}{block}:\n{indent}{step}{name}: {value}"), format!("{block}: {{{name}: {value}}}"))
            }
            Notation::Json => {
                let line = format!("\"{block}\": {{\"{name}\": {value}}}");
                (format!("{indent}{line}"), line)
            }
        };
        Text { lines, line, apart: self.notation == Notation::Mem }
    }

    /// The last setting that is written directly in a block; for the plan, a block counts too where one is inserted.
    fn last(&self, block: &str) -> Option<Place> {
        self.spans
            .iter()
            .filter(|(path, _)| match path.split_once('.') {
                Some((outer, name)) => {
                    outer == block && !name.contains('[') && (name != "kind" || self.notation != Notation::Mem)
                }
                None => block.is_empty() && Plan::setting(path).is_some() && !path.contains('['),
            })
            .map(|(_, place)| place.clone())
            .max_by_key(|place| place.statement.end)
    }

    /// The end of everything that is written in the plan.
    fn last_of_plan(&self) -> Option<Place> {
        let inside = |path: &str| !matches!(path, "plan" | "name") && !path.contains(['.', '[']);
        self.spans
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(_, place)| place.clone())
            .max_by_key(|place| place.statement.end)
    }

    /// How far behind a setting's start its `=` stands, when a space before it shows that it is aligned.
    fn equals_column(&self, place: &Place) -> Option<usize> {
        let between = self.text.get(place.key.end..place.value.start)?;
        let equals = between.find('=')?;
        (equals > 0).then_some(place.key.len() + equals)
    }

    /// Inserts into the body of a block or of the plan.
    fn insert(&self, body: &Range<usize>, block: Option<&Place>, name: &str, text: &Text) -> Option<Edit> {
        let written = self.text.get(body.clone())?;
        let last = if text.apart || (block.is_none() && self.last("").is_none()) {
            self.last_of_plan()
        } else {
            self.last(name)
        };
        let braces = written.trim_start().starts_with('{');
        let on_lines = written.contains('\n') || !braces;
        let separator = match self.notation {
            Notation::Mem => ";",
            _ => ",",
        };
        let windows = self.text.contains("\r\n");
        let put = |at: usize, text: String| {
            Some(Edit { range: at..at, text: if windows { text.replace('\n', "\r\n") } else { text } })
        };
        match last {
            Some(last) => {
                let end = last.statement.start
                    + self.text.get(last.statement.clone())?.trim_end_matches([' ', '\t', '\r', '\n', ';', ',']).len();
                if !on_lines {
                    return put(end, format!("{separator} {}", text.line));
                }
                match self.notation {
                    Notation::Json => put(end, format!(",\n{}", text.lines)),
                    _ => {
                        let line_end = self.text[end..].find(['\r', '\n']).map_or(self.text.len(), |at| end + at);
                        let blank = if text.apart { "\n" } else { "" };
                        put(line_end, format!("\n{blank}{}", text.lines))
                    }
                }
            }
            None => {
                // An empty body: behind its `{`.
                let open = body.start + written.find('{')? + 1;
                if on_lines {
                    return put(open, format!("\n{}", text.lines));
                }
                let close = self.text[open..].starts_with('}');
                put(open, format!(" {}{}", text.line, if close { " " } else { "" }))
            }
        }
    }
}

/// The white space that begins the line of a byte.
fn indentation(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |at| at + 1);
    let line = &text[start..];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}
