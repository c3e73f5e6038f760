//! Text without mistakes of syntax as lines and blocks of lines.

use super::super::lexer::{TokenKind, lex};
use super::trimmed;

/// A token and its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'t> {
    pub(super) kind: TokenKind,
    pub(super) text: &'t str,
    /// Nothing stands between it and the piece before it.
    pub(super) joined: bool,
}

/// A line, a block of lines, or what stands between them.
#[derive(Debug)]
pub(super) enum Node<'t> {
    /// A statement; in its brackets there may be newlines and comments.
    Line(Vec<Piece<'t>>),
    /// `head { body }`
    Block {
        head: Vec<Piece<'t>>,
        body: Vec<Spread<'t>>,
        /// It was written on one line.
        inline: bool,
        /// A comment behind its `{`.
        opening: Option<&'t str>,
    },
    /// A comment on a line of its own.
    Comment(&'t str),
    /// Lines that stay as they are.
    Verbatim(&'t str),
}

/// A node, and what is around it.
#[derive(Debug)]
pub(super) struct Spread<'t> {
    pub(super) node: Node<'t>,
    /// A blank line is above it.
    pub(super) blank: bool,
    /// A comment behind it.
    pub(super) comment: Option<&'t str>,
}

/// A block that is being read; the first one is the file.
#[derive(Default)]
struct Open<'t> {
    head: Vec<Piece<'t>>,
    body: Vec<Spread<'t>>,
    blank: bool,
    inline: bool,
    opening: Option<&'t str>,
}

#[derive(Default)]
struct Reader<'t> {
    open: Vec<Open<'t>>,
    line: Vec<Piece<'t>>,
    /// Line ends since the last node or `{`.
    newlines: usize,
}

/// The nodes of a text. One whose blocks are not closed stays as it is.
pub(super) fn read(text: &str) -> Vec<Spread<'_>> {
    let tokens = lex(text);
    let mut reader = Reader { open: vec![Open::default()], ..Reader::default() };
    let (mut brackets, mut end) = (0usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        let piece =
            Piece { kind: token.kind, text: trimmed(&text[token.span.clone()]), joined: token.span.start == end };
        match token.kind {
            TokenKind::Space => continue,
            TokenKind::Newline if brackets == 0 => {
                reader.end_line();
                reader.newlines += 1;
            }
            TokenKind::Semicolon if brackets == 0 => reader.end_line(),
            TokenKind::Comment | TokenKind::Doc if brackets == 0 => reader.comment(piece.text),
            TokenKind::OpenBrace if brackets == 0 => {
                let inline = closes_on_its_line(tokens[at + 1..].iter().map(|token| token.kind));
                let open = Open {
                    head: std::mem::take(&mut reader.line),
                    blank: reader.newlines > 1,
                    inline,
                    ..Open::default()
                };
                reader.open.push(open);
                reader.newlines = 0;
            }
            TokenKind::CloseBrace if brackets == 0 && reader.open.len() > 1 => {
                reader.end_line();
                reader.close();
            }
            kind => {
                brackets = match kind {
                    TokenKind::OpenBracket | TokenKind::OpenParen => brackets + 1,
                    TokenKind::CloseBracket | TokenKind::CloseParen => brackets.saturating_sub(1),
                    _ => brackets,
                };
                reader.line.push(piece);
            }
        }
        end = token.span.end;
    }
    reader.end_line();
    match <[Open<'_>; 1]>::try_from(reader.open) {
        Ok([file]) => file.body,
        // Not balanced after all.
        Err(_) => vec![Spread { node: Node::Verbatim(trimmed(text)), blank: false, comment: None }],
    }
}

fn closes_on_its_line(kinds: impl Iterator<Item = TokenKind>) -> bool {
    let mut depth = 1;
    for kind in kinds {
        match kind {
            TokenKind::Newline | TokenKind::Comment | TokenKind::Doc => return false,
            TokenKind::OpenBrace => depth += 1,
            TokenKind::CloseBrace => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return true;
        }
    }
    false
}

impl<'t> Reader<'t> {
    fn push(&mut self, node: Node<'t>, blank: bool) {
        if let Some(open) = self.open.last_mut() {
            let blank = blank && !open.body.is_empty();
            open.body.push(Spread { node, blank, comment: None });
        }
        self.newlines = 0;
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.push(Node::Line(line), self.newlines > 1);
        }
    }

    /// Behind a node or a `{` it belongs to that; else it has a line of its own.
    fn comment(&mut self, text: &'t str) {
        self.end_line();
        let beside = self.newlines == 0;
        let Some(open) = self.open.last_mut() else { return };
        match open.body.last_mut() {
            Some(last) if beside && last.comment.is_none() && !matches!(last.node, Node::Comment(_)) => {
                last.comment = Some(text);
            }
            None if beside && open.opening.is_none() && !open.head.is_empty() => open.opening = Some(text),
            _ => self.push(Node::Comment(text), self.newlines > 1),
        }
    }

    fn close(&mut self) {
        if self.open.len() > 1
            && let Some(Open { head, body, blank, inline, opening }) = self.open.pop()
        {
            self.push(Node::Block { head, body, inline, opening }, blank);
        }
    }
}
