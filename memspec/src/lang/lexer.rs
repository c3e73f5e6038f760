//! Text to tokens. Total: every text has tokens, and joined they are the text.

use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while, take_while1};
use nom::character::complete::{anychar, char, digit1, one_of};
use nom::combinator::{map, opt, recognize, value};
use nom::multi::many0_count;
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

/// A piece of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// Its bytes.
    pub span: Range<usize>,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// Spaces and tabs.
    Space,
    /// The end of a line.
    Newline,
    /// `# ..`
    Comment,
    /// `## ..`
    Doc,
    /// A word.
    Word,
    /// `0.5`, `2e-4`, `1_000`
    Number,
    /// A number with letters or `%` right after it.
    Quantity,
    /// `".."`
    Text,
    /// A text whose closing quote is missing; it ends with its line.
    OpenText,
    /// `{`
    OpenBrace,
    /// `}`
    CloseBrace,
    /// `[`
    OpenBracket,
    /// `]`
    CloseBracket,
    /// `(`
    OpenParen,
    /// `)`
    CloseParen,
    /// `=`
    Assign,
    /// `<=` `>=` `<` `>` `==` `!=`
    Comparison,
    /// `+` `-`
    Sum,
    /// `*` `/`
    Product,
    /// `,`
    Comma,
    /// `.`
    Dot,
    /// `:`
    Colon,
    /// `;`
    Semicolon,
    /// Characters that are no part of the language.
    Stray,
}

impl TokenKind {
    /// Whether the parser passes over it.
    pub fn is_trivia(self) -> bool {
        matches!(self, TokenKind::Space | TokenKind::Comment | TokenKind::Doc)
    }
}

/// The tokens of a text.
pub fn lex(text: &str) -> Vec<Token> {
    let (mut rest, mut tokens) = (text, Vec::<Token>::new());
    while let Ok((after, kind)) = token(rest) {
        let span = text.len() - rest.len()..text.len() - after.len();
        rest = after;
        match tokens.last_mut() {
            // a run of stray characters is one mistake
            Some(last) if kind == TokenKind::Stray && last.kind == TokenKind::Stray => last.span.end = span.end,
            _ => tokens.push(Token { kind, span }),
        }
    }
    tokens
}

/// One token; fails only at the end of the text.
fn token(input: &str) -> IResult<&str, TokenKind> {
    alt((
        value(TokenKind::Newline, alt((tag("\r\n"), tag("\n")))),
        // a byte order mark and a carriage return without its newline are space
        value(TokenKind::Space, take_while1(|c| matches!(c, ' ' | '\t' | '\r' | '\u{feff}'))),
        map(recognize(pair(char('#'), opt(is_not("\n")))), |comment: &str| {
            let doc = comment.starts_with("##") && !comment.starts_with("###");
            if doc { TokenKind::Doc } else { TokenKind::Comment }
        }),
        map(pair(number, opt(unit)), |(_, unit)| if unit.is_some() { TokenKind::Quantity } else { TokenKind::Number }),
        value(TokenKind::Word, word),
        text,
        value(TokenKind::Comparison, alt((tag("<="), tag(">="), tag("=="), tag("!="), tag("<"), tag(">")))),
        punctuation,
        value(TokenKind::Stray, anychar),
    ))
    .parse(input)
}

fn digits(input: &str) -> IResult<&str, &str> {
    recognize(pair(digit1, many0_count(preceded(opt(char('_')), digit1)))).parse(input)
}

fn number(input: &str) -> IResult<&str, &str> {
    let exponent = (one_of("eE"), opt(one_of("+-")), digit1);
    recognize((digits, opt(pair(char('.'), digits)), opt(exponent))).parse(input)
}

fn unit(input: &str) -> IResult<&str, &str> {
    let letters = recognize(pair(
        take_while1(|c: char| c.is_alphabetic()),
        take_while(|c: char| c.is_alphanumeric() || c == '_'),
    ));
    alt((tag("%"), letters)).parse(input)
}

fn word(input: &str) -> IResult<&str, &str> {
    recognize(pair(
        take_while1(|c: char| c.is_alphabetic() || c == '_'),
        take_while(|c: char| c.is_alphanumeric() || c == '_'),
    ))
    .parse(input)
}

/// A text in quotes: a backslash takes the next character with it, and a line's end closes nothing.
fn text(input: &str) -> IResult<&str, TokenKind> {
    let (body, _) = char('"').parse(input)?;
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((&body[at + 1..], TokenKind::Text)),
            '\n' => return Ok((&body[at..], TokenKind::OpenText)),
            '\\' if !body[at + 1..].starts_with(['\n', '\r']) => _ = characters.next(),
            _ => {}
        }
    }
    Ok((&body[body.len()..], TokenKind::OpenText))
}

fn punctuation(input: &str) -> IResult<&str, TokenKind> {
    alt((
        value(TokenKind::OpenBrace, char('{')),
        value(TokenKind::CloseBrace, char('}')),
        value(TokenKind::OpenBracket, char('[')),
        value(TokenKind::CloseBracket, char(']')),
        value(TokenKind::OpenParen, char('(')),
        value(TokenKind::CloseParen, char(')')),
        value(TokenKind::Assign, char('=')),
        value(TokenKind::Sum, one_of("+-")),
        value(TokenKind::Product, one_of("*/")),
        value(TokenKind::Comma, char(',')),
        value(TokenKind::Dot, char('.')),
        value(TokenKind::Colon, char(':')),
        value(TokenKind::Semicolon, char(';')),
    ))
    .parse(input)
}
