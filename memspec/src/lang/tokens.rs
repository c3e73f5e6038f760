//! The parser's input: tokens without trivia, and a place to note mistakes. nom's combinators run over it.

use std::cell::RefCell;
use std::ops::Range;

use nom::error::{Error, ErrorKind};
use nom::{IResult, Input};

use super::lexer::{Token, TokenKind};
use super::tree::Name;
use crate::plan::Problem;

/// What is left to parse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tokens<'a> {
    tokens: &'a [Token],
    source: &'a str,
    mistakes: &'a RefCell<Mistakes>,
    /// Where the token before these ends.
    pub(super) before: usize,
    /// How many blocks, lists and parentheses are open.
    pub(super) depth: usize,
}

/// The mistakes so far, and which token the last one was found at.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    pub(super) problems: Vec<Problem>,
    last: Option<usize>,
}

pub(super) type Parsed<'a, T> = IResult<Tokens<'a>, T>;

impl<'a> Tokens<'a> {
    pub(super) fn new(tokens: &'a [Token], source: &'a str, mistakes: &'a RefCell<Mistakes>) -> Self {
        Tokens { tokens, source, mistakes, before: 0, depth: 0 }
    }

    pub(super) fn next(&self) -> Option<TokenKind> {
        self.nth(0)
    }

    pub(super) fn nth(&self, n: usize) -> Option<TokenKind> {
        self.tokens.get(n).map(|token| token.kind)
    }

    /// Where the next token is; at the end of the text, its end.
    pub(super) fn span(&self) -> Range<usize> {
        self.tokens.first().map_or(self.source.len()..self.source.len(), |token| token.span.clone())
    }

    pub(super) fn span_of(&self, n: usize) -> Range<usize> {
        self.tokens.get(n).map_or(self.source.len()..self.source.len(), |token| token.span.clone())
    }

    /// The text of the n-th token.
    pub(super) fn text(&self, n: usize) -> &'a str {
        &self.source[self.span_of(n)]
    }

    /// The text between two bytes.
    pub(super) fn between(&self, start: usize, end: usize) -> &'a str {
        self.source.get(start..end).unwrap_or_default()
    }

    /// Whether the next token is this word.
    pub(super) fn at_word(&self, word: &str) -> bool {
        self.next() == Some(TokenKind::Word) && self.text(0) == word
    }

    pub(super) fn at_line_end(&self) -> bool {
        matches!(self.next(), None | Some(TokenKind::Newline | TokenKind::Semicolon))
    }

    pub(super) fn deeper(self) -> Self {
        Tokens { depth: self.depth + 1, ..self }
    }

    pub(super) fn as_deep_as(self, other: Tokens) -> Self {
        Tokens { depth: other.depth, ..self }
    }

    /// How far the byte is from the beginning of its line, if not very far.
    pub(super) fn column(&self, at: usize) -> Option<usize> {
        // bounded, so that asking stays cheap whatever the text
        let bytes = &self.source.as_bytes()[at.saturating_sub(256)..at];
        bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map(|newline| bytes.len() - newline - 1)
            .or((at <= 256).then_some(at))
    }

    /// Notes a mistake found at the next token. A second one at the same token is an echo of the first, and dropped.
    pub(super) fn report(&self, problem: Problem) {
        let mut mistakes = self.mistakes.borrow_mut();
        let at = self.span().start;
        if mistakes.last != Some(at) {
            mistakes.last = Some(at);
            mistakes.problems.push(problem);
        }
    }

    /// Notes that something else should be here.
    pub(super) fn expected(&self, what: &str) {
        self.report(self.unexpected(what));
    }

    pub(super) fn unexpected(&self, what: &str) -> Problem {
        let span = self.span();
        let found = match self.next() {
            Some(TokenKind::Stray) => return stray(&self.source[span.clone()], span),
            Some(TokenKind::OpenText) => return open_text(span),
            // what is missing is missing behind the last token, not on the next line
            None | Some(TokenKind::Newline) => {
                let end = if self.next().is_none() { "the end of the file" } else { "the end of the line" };
                let problem = Problem::new("syntax", self.before..self.before, format!("expected {what}, found {end}"));
                return problem.label("missing here");
            }
            Some(_) => &self.source[span.clone()],
        };
        Problem::new("syntax", span, format!("expected {what}, found `{found}`")).label("not expected here")
    }
}

pub(super) fn open_text(span: Range<usize>) -> Problem {
    let end = span.end..span.end;
    Problem::new("syntax", span, "the text has no closing quote")
        .label("opened here")
        .help("close it with `\"` on the same line")
        .fix(end, "\"")
}

fn stray(found: &str, span: Range<usize>) -> Problem {
    let problem = Problem::new("syntax", span, format!("`{found}` is no part of the language")).label("not understood");
    match found {
        "\u{201c}" | "\u{201d}" | "\u{201e}" | "'" | "`" | "\u{2018}" | "\u{2019}" => {
            problem.help("text stands in straight double quotes: `\"`")
        }
        "//" => problem.help("comments begin with `#`"),
        "$" => problem.help("a name is written without `$`; money as `12usd`"),
        _ => problem,
    }
}

/// A token of that kind.
pub(super) fn token<'a>(kind: TokenKind) -> impl Fn(Tokens<'a>) -> Parsed<'a, Name> {
    move |input| {
        if input.next() == Some(kind) {
            let name = Name { text: input.text(0).to_owned(), span: input.span() };
            Ok((input.take_from(1), name))
        } else {
            no(input)
        }
    }
}

/// This parser does not apply here.
pub(super) fn no<T>(input: Tokens) -> Parsed<T> {
    Err(nom::Err::Error(Error::new(input, ErrorKind::Tag)))
}

/// After this point the statement can be nothing else: what is missing is noted, nothing is consumed.
pub(super) fn expect<'a, T>(
    parser: impl Fn(Tokens<'a>) -> Parsed<'a, T>,
    what: &str,
) -> impl Fn(Tokens<'a>) -> Parsed<'a, Option<T>> {
    move |input| match parser(input) {
        Ok((rest, found)) => Ok((rest, Some(found))),
        Err(_) => {
            input.expected(what);
            Ok((input, None))
        }
    }
}

/// Passes over everything to the end of the statement: a newline or `;` outside of brackets, or a `}` that closes more
/// than was opened. Never past it.
pub(super) fn sync(input: Tokens) -> Parsed<Range<usize>> {
    let (mut open, mut length) = (0usize, 0);
    for token in input.tokens {
        match token.kind {
            TokenKind::OpenBrace | TokenKind::OpenBracket | TokenKind::OpenParen => open += 1,
            TokenKind::CloseBrace | TokenKind::Newline | TokenKind::Semicolon if open == 0 => break,
            TokenKind::CloseBrace | TokenKind::CloseBracket | TokenKind::CloseParen => open = open.saturating_sub(1),
            _ => {}
        }
        length += 1;
    }
    let rest = input.take_from(length);
    let start = input.span().start;
    Ok((rest, start..rest.before.max(start)))
}

/// Passes over the rest of a bracket that is open, its end included.
pub(super) fn skip_bracket(input: Tokens) -> Tokens {
    let mut open = 1usize;
    for (n, token) in input.tokens.iter().enumerate() {
        match token.kind {
            TokenKind::OpenBrace | TokenKind::OpenBracket | TokenKind::OpenParen => open += 1,
            TokenKind::CloseBrace | TokenKind::CloseBracket | TokenKind::CloseParen => open -= 1,
            _ => {}
        }
        if open == 0 {
            return input.take_from(n + 1);
        }
    }
    input.take_from(input.tokens.len())
}

/// Passes over newlines and `;`.
pub(super) fn newlines(input: Tokens) -> Tokens {
    let ends = |token: &&Token| matches!(token.kind, TokenKind::Newline | TokenKind::Semicolon);
    input.take_from(input.tokens.iter().take_while(ends).count())
}

impl<'a> Input for Tokens<'a> {
    type Item = &'a Token;
    type Iter = std::slice::Iter<'a, Token>;
    type IterIndices = std::iter::Enumerate<std::slice::Iter<'a, Token>>;

    fn input_len(&self) -> usize {
        self.tokens.len()
    }
    fn take(&self, count: usize) -> Self {
        Tokens { tokens: &self.tokens[..count], ..*self }
    }
    fn take_from(&self, count: usize) -> Self {
        // a newline is not what something is missing behind
        let last = self.tokens[..count].iter().rev().find(|token| token.kind != TokenKind::Newline);
        Tokens { tokens: &self.tokens[count..], before: last.map_or(self.before, |token| token.span.end), ..*self }
    }
    fn take_split(&self, count: usize) -> (Self, Self) {
        (self.take_from(count), self.take(count))
    }
    fn position<P: Fn(Self::Item) -> bool>(&self, predicate: P) -> Option<usize> {
        self.tokens.iter().position(predicate)
    }
    fn iter_elements(&self) -> Self::Iter {
        self.tokens.iter()
    }
    fn iter_indices(&self) -> Self::IterIndices {
        self.tokens.iter().enumerate()
    }
    fn slice_index(&self, count: usize) -> Result<usize, nom::Needed> {
        if count <= self.tokens.len() { Ok(count) } else { Err(nom::Needed::Unknown) }
    }
}
