//! Tokens on a line, and lists over several.

use super::super::lexer::TokenKind;
use super::layout::{INDENT, WIDTH};
use super::nodes::Piece;

/// Where the sign of a setting or limit stands: `name = ..`, `let name = ..`, `figure <= ..`.
pub(super) fn sign(line: &[Piece<'_>]) -> Option<usize> {
    let at = line.iter().position(|piece| matches!(piece.kind, TokenKind::Assign | TokenKind::Comparison))?;
    // a condition is read from the left, not down a column
    if line[0].text == "assert" && line[at].kind == TokenKind::Comparison {
        return None;
    }
    let before = line[..at].iter().map(|piece| piece.kind);
    let plain = |kind| matches!(kind, TokenKind::Word | TokenKind::Number | TokenKind::Quantity);
    ((1..=2).contains(&at) && before.into_iter().all(plain)).then_some(at)
}

/// Tokens on one line; their comments are left out.
pub(super) fn spaced(pieces: &[Piece<'_>]) -> String {
    let mut text = String::new();
    let mut before: Option<Piece<'_>> = None;
    // The `-` before: of one value, not between two.
    let mut prefix = false;
    let pieces = pieces.iter().filter(|piece| !matches!(piece.kind, TokenKind::Newline));
    for piece in pieces {
        if before.is_some_and(|before| apart(&before, piece, prefix)) {
            text.push(' ');
        }
        prefix = piece.kind == TokenKind::Sum && before.is_none_or(|before| takes_operand(&before));
        text.push_str(piece.text);
        before = Some(*piece);
    }
    text
}

/// A value follows it, so that a `-` behind it is of that value.
fn takes_operand(piece: &Piece<'_>) -> bool {
    match piece.kind {
        TokenKind::Word => matches!(piece.text, "and" | "or" | "not" | "assert"),
        TokenKind::Assign
        | TokenKind::Comparison
        | TokenKind::Sum
        | TokenKind::Product
        | TokenKind::OpenParen
        | TokenKind::OpenBracket
        | TokenKind::Comma => true,
        _ => false,
    }
}

fn apart(before: &Piece<'_>, piece: &Piece<'_>, prefix: bool) -> bool {
    use TokenKind::{CloseBracket, CloseParen, Colon, Comma, Dot, OpenBracket, OpenParen, Word};
    match (before.kind, piece.kind) {
        (_, Comma | CloseBracket | CloseParen | Dot) | (OpenBracket | OpenParen | Dot, _) => false,
        (_, Colon) | (Colon, _) => !piece.joined,
        (Word, OpenParen) => !piece.joined,
        _ => !prefix,
    }
}

/// A name that its author forgot to quote (`a100-80`, `org/model`), which a space would make something else.
fn unquoted(value: &[Piece<'_>]) -> bool {
    let plain = |kind| {
        use TokenKind::{Colon, Dot, Number, Product, Quantity, Sum, Word};
        matches!(kind, Word | Number | Quantity | Sum | Product | Dot | Colon)
    };
    value.len() > 1
        && value[0].kind != TokenKind::Sum
        && value.iter().all(|piece| plain(piece.kind))
        && value[1..].iter().all(|piece| piece.joined)
        && value.iter().any(|piece| piece.kind == TokenKind::Word)
}

/// A value: on one line, or a list with a line for each element, indented by `depth` levels. `column`: where it begins.
pub(super) fn value(pieces: &[Piece<'_>], column: usize, depth: usize) -> String {
    if unquoted(pieces) {
        return pieces.iter().map(|piece| piece.text).collect();
    }
    let is_comment = |piece: &Piece<'_>| matches!(piece.kind, TokenKind::Comment | TokenKind::Doc);
    let comments = pieces.iter().any(is_comment);
    let list = List::find(pieces);
    let magic = list.as_ref().is_some_and(|list| list.ends_in_comma);
    if !comments && !magic {
        let flat = spaced(pieces);
        if column + flat.chars().count() <= WIDTH || list.is_none() {
            return flat;
        }
    }
    match list.filter(|list| !comments || list.holds_comments) {
        Some(list) => list.written(pieces, depth),
        None => source(pieces),
    }
}

/// Pieces with their own line ends: what no rule lays out.
fn source(pieces: &[Piece<'_>]) -> String {
    let mut text = String::new();
    for piece in pieces {
        if piece.kind == TokenKind::Newline {
            text.push('\n');
        } else {
            if !piece.joined && !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(piece.text);
        }
    }
    text
}

/// The outermost list of a value.
struct List {
    open: usize,
    close: usize,
    ends_in_comma: bool,
    /// Every comment stands between its elements.
    holds_comments: bool,
}

impl List {
    fn find(pieces: &[Piece<'_>]) -> Option<Self> {
        let open = pieces.iter().position(|piece| piece.kind == TokenKind::OpenBracket)?;
        let (mut depth, mut close, mut holds_comments) = (0usize, None, true);
        for (at, piece) in pieces.iter().enumerate() {
            match piece.kind {
                TokenKind::OpenBracket | TokenKind::OpenParen => depth += 1,
                TokenKind::CloseBracket | TokenKind::CloseParen => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && at > open && close.is_none() {
                        close = Some(at);
                    }
                }
                TokenKind::Comment | TokenKind::Doc if depth != 1 || at < open || close.is_some() => {
                    holds_comments = false;
                }
                _ => {}
            }
        }
        let close = close?;
        let solid =
            |piece: &&Piece<'_>| !matches!(piece.kind, TokenKind::Newline | TokenKind::Comment | TokenKind::Doc);
        let ends_in_comma =
            pieces[open..close].iter().rev().find(solid).is_some_and(|last| last.kind == TokenKind::Comma);
        Some(Self { open, close, ends_in_comma, holds_comments })
    }

    fn written(&self, pieces: &[Piece<'_>], depth: usize) -> String {
        let inner = INDENT.repeat(depth + 1);
        let mut lines = vec![spaced(&pieces[..=self.open])];
        let mut element: Vec<Piece<'_>> = Vec::new();
        let mut nested = 0usize;
        // On the line of the element before it.
        let mut beside = false;
        let flush = |element: &mut Vec<Piece<'_>>, lines: &mut Vec<String>| {
            if !element.is_empty() {
                lines.push(format!("{inner}{}", spaced(element)));
                element.clear();
            }
        };
        for piece in &pieces[self.open + 1..self.close] {
            match piece.kind {
                TokenKind::Newline => beside = false,
                TokenKind::Comment | TokenKind::Doc => {
                    let behind = beside || !element.is_empty();
                    flush(&mut element, &mut lines);
                    match lines.last_mut() {
                        Some(last) if behind => *last += &format!("  {}", piece.text),
                        _ => lines.push(format!("{inner}{}", piece.text)),
                    }
                    beside = false;
                }
                TokenKind::Comma if nested == 0 => {
                    if element.is_empty() && lines.len() > 1 {
                        // The comma of an element that a comment stands behind.
                        lines.push(format!("{inner},"));
                    } else {
                        element.push(*piece);
                        flush(&mut element, &mut lines);
                        beside = true;
                    }
                }
                kind => {
                    nested = match kind {
                        TokenKind::OpenBracket | TokenKind::OpenParen => nested + 1,
                        TokenKind::CloseBracket | TokenKind::CloseParen => nested.saturating_sub(1),
                        _ => nested,
                    };
                    element.push(*piece);
                }
            }
        }
        flush(&mut element, &mut lines);
        lines.push(format!("{}{}", INDENT.repeat(depth), spaced(&pieces[self.close..])));
        lines.join("\n")
    }
}
