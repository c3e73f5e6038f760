//! One style for `.mem` text. Only spaces, line ends and `;` change: every other token stays, in its order.
//!
//! Two spaces a level; one blank line at most; `=`, limits and comments below each other in a run of lines; a block that was written on one line stays
//! there while it fits; a list whose last element has a comma, or that is too wide, has one element a line. Items with a mistake in their syntax stay
//! as they are.

mod layout;
mod nodes;
mod tokens;

use std::ops::Range;

use super::parse;
use super::tree::Tree;
use nodes::{Node, Spread};

/// What the language takes as space.
const SPACE: [char; 5] = [' ', '\t', '\r', '\n', '\u{feff}'];

/// Passes over a text with mistakes, beside the first.
const MOST_PASSES: usize = 8;

/// The text in the one style.
///
/// ```
/// let text = "plan \"p\" {\n model=\"m\"\n\n\n  data{context=2048tok}   # short\n}";
/// let formatted = memspec::lang::format(text);
/// assert_eq!(formatted, "plan \"p\" {\n  model = \"m\"\n\n  data { context = 2048tok }  # short\n}\n");
/// assert_eq!(memspec::lang::format(&formatted), formatted);
/// ```
pub fn format(text: &str) -> String {
    let tree = parse(text);
    let mut formatted = laid_out(&tree, text);
    // Around a mistake a line end may change what is part of it; then more falls into place.
    for _ in 0..if tree.errors.is_empty() { 0 } else { MOST_PASSES } {
        let again = laid_out(&parse(&formatted), &formatted);
        if again == formatted {
            break;
        }
        formatted = again;
    }
    formatted
}

fn laid_out(tree: &Tree, text: &str) -> String {
    let mut file: Vec<Spread> = Vec::new();
    let mut from = 0;
    for kept in kept(tree, text) {
        let before = &text[from..kept.start];
        extend(&mut file, nodes::read(before), begins_blank(before));
        // Its own line end is behind the last line of what is before it.
        let ends = line_ends(&before[trimmed(before).len()..]);
        let blank = ends > usize::from(!trimmed(before).is_empty());
        from = kept.end;
        let lines = Node::Verbatim(trimmed(&text[kept]));
        extend(&mut file, vec![Spread { node: lines, blank: false, comment: None }], blank);
    }
    extend(&mut file, nodes::read(&text[from..]), begins_blank(&text[from..]));
    part_plans(&mut file);
    let formatted = layout::lines(&file, 0);
    // A file with line ends of two kinds gets those of Windows.
    if text.contains("\r\n") { formatted.replace("\r\n", "\n").replace('\n', "\r\n") } else { formatted }
}

fn begins_blank(text: &str) -> bool {
    line_ends(&text[..text.len() - text.trim_start_matches(SPACE).len()]) > 0
}

fn line_ends(space: &str) -> usize {
    space.matches('\n').count()
}

/// Adds nodes below those there are; `blank`: a blank line is between them.
fn extend<'t>(file: &mut Vec<Spread<'t>>, nodes: Vec<Spread<'t>>, blank: bool) {
    let below = file.len();
    file.extend(nodes);
    if let Some(first) = file.get_mut(below) {
        first.blank = blank && below > 0;
    }
}

/// The lines of items with a mistake, and of mistakes outside of items; in order, and apart from each other.
fn kept(tree: &Tree, text: &str) -> Vec<Range<usize>> {
    let errors = tree.errors.iter().map(|error| (error.span.clone(), true));
    let items = tree.items.iter().map(|item| (item.span(), !item.is_read()));
    let whole_lines = |(span, wrong): (Range<usize>, bool)| {
        let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[span.end..].find('\n').map_or(text.len(), |newline| span.end + newline + 1);
        (start..end, wrong)
    };
    let mut spans: Vec<(Range<usize>, bool)> = errors.chain(items).map(whole_lines).collect();
    spans.sort_by_key(|(span, _)| span.start);
    let mut merged: Vec<(Range<usize>, bool)> = Vec::new();
    for (span, wrong) in spans {
        match merged.last_mut() {
            // What shares a line stays together.
            Some((last, kept)) if span.start < last.end => {
                last.end = last.end.max(span.end);
                *kept |= wrong;
            }
            _ => merged.push((span, wrong)),
        }
    }
    merged.into_iter().filter_map(|(span, wrong)| wrong.then_some(span)).collect()
}

/// Without the space behind it; other blanks of Unicode are stray characters.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches(SPACE)
}

/// A blank line between plans, before the comments of the second.
fn part_plans(file: &mut [Spread]) {
    let mut after_block = false;
    let mut comments = None;
    for at in 0..file.len() {
        match file[at].node {
            Node::Comment(_) => _ = comments.get_or_insert(at),
            Node::Block { .. } => {
                if after_block {
                    file[comments.unwrap_or(at)].blank = true;
                }
                (after_block, comments) = (true, None);
            }
            Node::Line(_) | Node::Verbatim(_) => (after_block, comments) = (false, None),
        }
    }
}
