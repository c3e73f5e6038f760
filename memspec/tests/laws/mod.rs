//! What holds for every text, whatever it says. Tests and the fuzz targets of `fuzz/` check it.
#![allow(dead_code, reason = "each of them needs some")]

use std::ops::Range;

use memspec::lang::{TokenKind, format, lex, parse};
use memspec::plan::{Document, read_text};

/// A `.mem` text has tokens, which joined are the text, and is read.
pub(crate) fn read(text: &str) -> Document {
    let joined: String = lex(text).iter().map(|token| &text[token.span.clone()]).collect();
    assert_eq!(joined, text, "the tokens joined are the text");
    let document = read_text("any.mem", text);
    within(&document);
    document
}

/// A `.mem` text is read and formatted. Gives it formatted.
pub(crate) fn mem(text: &str) -> String {
    let document = read(text);
    let formatted = format(text);
    assert_eq!(solid(&formatted), solid(text), "formatting keeps every token of {text:?}\n{formatted}");
    assert_eq!(format(&formatted), formatted, "formatting once is enough for {text:?}");
    if parse(text).errors.is_empty() {
        let again = read_text("any.mem", &*formatted);
        let plans = |document: &Document| document.plans.iter().map(|read| read.plan.clone()).collect::<Vec<_>>();
        assert_eq!(plans(&again), plans(&document), "formatting keeps the plans of {text:?}\n{formatted}");
    }
    formatted
}

/// A YAML or JSON text is read; a plan without mistakes is the same when it is written as JSON.
pub(crate) fn yaml(text: &str) {
    let document = read_text("any.yaml", text);
    within(&document);
    if document.problems.is_empty() {
        for written in &document.plans {
            let json = serde_json::to_string(&written.plan).unwrap();
            let again = read_text("any.json", &*json);
            assert_eq!(again.problems, [], "of {text:?}\n{json}");
            assert_eq!(again.plans[0].plan, written.plan, "of {text:?}\n{json}");
        }
    }
}

/// Every place lies in the text, and between characters.
pub(crate) fn within(document: &Document) {
    let text = &document.source.text;
    let inside = |span: &Range<usize>, what: &dyn std::fmt::Debug| {
        assert!(text.get(span.clone()).is_some(), "{span:?} of {what:?} is not in {text:?}");
    };
    for problem in &document.problems {
        assert!(!problem.message.is_empty(), "{problem:?}");
        inside(&problem.span, problem);
        problem.fix.iter().for_each(|fix| inside(&fix.range, problem));
        problem.related.iter().for_each(|(span, _)| inside(span, problem));
    }
    for (path, place) in document.plans.iter().flat_map(|plan| plan.spans.iter()) {
        for span in [&place.key, &place.value, &place.statement] {
            inside(span, &path);
        }
    }
    for allow in &document.allows {
        inside(&allow.span, allow);
        allow.names.iter().for_each(|(_, span)| inside(span, allow));
    }
}

/// What formatting may not touch: tokens that are neither space nor the end of a statement.
fn solid(text: &str) -> Vec<&str> {
    let free = |kind| matches!(kind, TokenKind::Space | TokenKind::Newline | TokenKind::Semicolon);
    lex(text)
        .into_iter()
        .filter(|token| !free(token.kind))
        .map(|token| text[token.span].trim_end_matches([' ', '\t', '\r', '\n', '\u{feff}']))
        .collect()
}
