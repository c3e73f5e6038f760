//! What is wrong with a text that is no YAML, in the words of who wrote it.

use std::ops::Range;

use granit_parser::{ErrorKind, ScanError};

use super::{BYTE_ORDER_MARK, Places};
use crate::plan::Problem;

/// What keeps a text from being one YAML document.
pub(super) fn in_form(text: &str, places: &Places) -> Option<Problem> {
    if let Some(error) = &places.error {
        return Some(not_yaml(text, error, &places.unclosed));
    }
    let second = places.second.clone()?;
    let problem = Problem::new("syntax", second, "a second document begins in this file").label("begins here");
    Some(problem.help("a file is one document; several plans stand in it as a list, `plans: [{..}, {..}]`"))
}

/// Why a document has no value, as the reader of values says it.
pub(super) fn in_reading(text: &str, places: &Places, error: &serde_yaml::Error) -> Problem {
    let message = error.to_string();
    if let Some((name, first, again)) = places.twice.first().filter(|_| message.contains("duplicate entry")) {
        let problem = Problem::new("duplicate-setting", again.clone(), format!("`{name}` stands twice"));
        let problem = problem.label("again here").related(first.clone(), "first here");
        return problem.help("keep one; several values to choose from are `{fit: [..]}`");
    }
    if let Some(merged) = places.merged_wrongly().filter(|_| message.contains("merg")) {
        let problem = Problem::new("syntax", merged, "`<<` takes settings to merge").label("no settings");
        return problem.help("as in `<<: *name`, where `&name` stands before a mapping further up");
    }
    let at = error.location().map_or(0, |location| offset(text, location.line(), location.column()));
    if message.starts_with("recursion limit") {
        return too_deep(character(text, at)).help("an alias (`*name`) cannot stand in its own anchor (`&name`)");
    }
    let reason = message.split(" at line ").next().unwrap_or(&message);
    Problem::new("syntax", word(text, at), format!("this is not YAML: {reason}")).label("here")
}

/// `unclosed`: the brackets that are open there.
fn not_yaml(text: &str, error: &ScanError, unclosed: &[Range<usize>]) -> Problem {
    use ErrorKind::*;
    let at = error.marker().byte_offset().filter(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let (first, here) = (character(text, at), word(text, at));
    let written = &text[here.clone()];
    let problem =
        |span: &Range<usize>, message: &str, label: &str| Problem::new("syntax", span.clone(), message).label(label);
    let missing = |what: &str| problem(&here, &format!("expected {what}"), "here");
    match error.kind() {
        RecursionLimitExceeded => too_deep(first),
        UnclosedFlowCollection { .. } => not_closed(text, first),
        MismatchedFlowCollectionEnd { open, close } => {
            problem(&first, &format!("`{open}` is not closed before a `{close}`"), "opened here")
        }
        MisplacedFlowCollectionEnd => problem(&first, "this bracket closes nothing", "nothing is open here"),
        UnclosedQuotedScalar => problem(&first, "the text has no closing quote", "opened here"),
        InvalidTrailingSingleQuotedScalar | InvalidTrailingDoubleQuotedScalar => {
            problem(&here, "something stands right behind a text in quotes", "not expected here").help(
                "values of a list are parted by `,`; a quote within a text is `''` between single quotes, `\\\"` between double ones",
            )
        }
        UnexpectedCharacter { character } if character.is_control() => {
            let code = u32::from(*character);
            problem(&first, &format!("a control character (U+{code:04X})"), "not allowed")
                .help(format!("remove it; in double quotes it is written `\\u{code:04X}`"))
        }
        UnexpectedCharacter { character } => {
            problem(&first, &format!("a text cannot begin with `{character}`"), "not expected here")
                .help("put the text in quotes")
        }
        UnknownAnchor => {
            let name = written.trim_start_matches('*');
            problem(&here, &format!("`*{name}` stands for nothing"), "no such anchor")
                .help(format!("write `&{name}` before the value that it stands for, further up"))
        }
        ExpectedFlowMappingSeparator => missing("`,` or `}`"),
        ExpectedFlowSequenceSeparator => missing("`,` or `]`"),
        kind => match (unclosed.last(), indenting_tab(text, at)) {
            // what is below it is read as its values
            (Some(open), _) if text[open.start..at].contains('\n') => {
                not_closed(text, open.clone()).related(here, "read up to here")
            }
            (_, Some(tab)) => problem(&tab, "a tab cannot indent YAML", "a tab").help("indent with spaces"),
            _ => out_of_line(text, at, kind, problem(&here, "", "not expected here")),
        },
    }
}

fn too_deep(at: Range<usize>) -> Problem {
    Problem::new("syntax", at, "values stand too deep in each other").label("too deep")
}

fn not_closed(text: &str, open: Range<usize>) -> Problem {
    let (sign, close) = if text[open.clone()].starts_with('[') { ('[', ']') } else { ('{', '}') };
    let problem = Problem::new("syntax", open, format!("`{sign}` is not closed")).label("opened here");
    problem.help(format!("its `{close}` is missing"))
}

/// Names and values that are not below each other as they should be. `problem`: at the place, without its words.
fn out_of_line(text: &str, at: usize, kind: &ErrorKind, problem: Problem) -> Problem {
    use ErrorKind::*;
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let say = |message: &str, help: &str| Problem { message: message.to_owned(), ..problem.clone() }.help(help);
    let expected = |place: Range<usize>| {
        let missing = Problem { span: place, ..say("expected `:` after a name", "a setting is written `name: value`") };
        missing.label("no `:` behind it")
    };
    match kind {
        ExpectedBlockMappingKey | InvalidIndentation => say(
            "this stands at no level of the settings above",
            "the settings of one block stand below each other, equally far from the left",
        ),
        ExpectedBlockSequenceEntry => say(
            "expected `- ` and a value",
            "what stands in a list begins with `- `; what follows it stands further left",
        ),
        SimpleKeyExpected | InvalidSimpleKey => expected(problem.span.clone()),
        MappingValueNotAllowed | MappingKeyNotAllowed | InvalidColonPlacement => {
            let above = text[..line].trim_end();
            let above = above.rfind('\n').map_or(0, |newline| newline + 1)..above.len();
            let indent = |line: &str| line.len() - line.trim_start_matches(' ').len();
            if text[line..at].contains(": ") {
                say(
                    "a second `name: value` on one line",
                    "give each setting its line; a text with `: ` in it stands in quotes",
                )
            } else if indent(&text[line..]) > indent(&text[above.clone()]) {
                let level = line + indent(&text[line..]);
                let problem = say(
                    "this line goes on with the value above",
                    "the settings of one block stand below each other, equally far from the left",
                );
                Problem { span: level..at, ..problem }.label("further right than the line above")
            } else {
                // two lines are read as one name
                expected(word(text, above.start + indent(&text[above])))
            }
        }
        kind => say(&format!("this is not YAML: {kind}"), "put a text in quotes that has signs of YAML in it"),
    }
}

/// The first tab in the indentation of the line or of the one above, if one is there.
fn indenting_tab(text: &str, at: usize) -> Option<Range<usize>> {
    let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let above = text[..line].trim_end().rfind('\n').map_or(0, |newline| newline + 1);
    [above, line].into_iter().find_map(|start| {
        let rest = &text[start..];
        let indent = &rest[..rest.len() - rest.trim_start_matches([' ', '\t']).len()];
        indent.find('\t').map(|tab| start + tab..start + tab + 1)
    })
}

/// The character at a place.
fn character(text: &str, at: usize) -> Range<usize> {
    at..at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// From a place to the end of the word that stands there.
fn word(text: &str, at: usize) -> Range<usize> {
    let rest = &text[at..];
    let end = rest.find([' ', '\t', '\r', '\n', ',', ']', '}']).unwrap_or(rest.len());
    if end == 0 { character(text, at) } else { at..at + end }
}

/// The byte at a line and a column of characters, both from 1, of the text without its byte order mark.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let body = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let start: usize = body.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let within: usize = body[start..].chars().take(column.saturating_sub(1)).map(char::len_utf8).sum();
    text.len() - body.len() + start + within
}
