//! Values and arithmetic.

use std::ops::Range;

use nom::branch::alt;
use nom::{Input, Parser};

use super::{MOST_DEEP, at_item, at_section, too_deep};
use crate::lang::lexer::TokenKind;
use crate::lang::tokens::{Parsed, Tokens, expect, no, open_text, skip_bracket, token};
use crate::lang::tree::{Expr, ExprKind, Name};
use crate::plan::Problem;
use crate::quantity::UNITS;

/// Whether a value can begin with such a token.
pub(super) fn begins(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Number
            | TokenKind::Quantity
            | TokenKind::Text
            | TokenKind::OpenText
            | TokenKind::Word
            | TokenKind::OpenBracket
    )
}

/// The text at the next token, without its quotes and escapes.
pub(super) fn text(input: Tokens) -> Name {
    let quoted = input.text(0);
    let inner = quoted.strip_prefix('"').unwrap_or(quoted);
    let inner = if input.next() == Some(TokenKind::Text) { inner.strip_suffix('"').unwrap_or(inner) } else { inner };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(escaped) => escaped,
                None => '\\',
            },
            plain => plain,
        });
    }
    Name { text, span: input.span() }
}

/// A setting's value: an expression, or `fit` or `sweep` and a list.
pub(super) fn value(input: Tokens) -> Parsed<Expr> {
    for (word, choice) in [("fit", ExprKind::Fit as fn(Vec<Expr>) -> ExprKind), ("sweep", ExprKind::Sweep)] {
        if input.at_word(word) && !matches!(input.nth(1), Some(TokenKind::Dot | TokenKind::OpenParen)) {
            let start = input.span().start;
            let after = input.take_from(1);
            if after.next() == Some(TokenKind::OpenBracket) {
                let (rest, list) = elements(after, TokenKind::CloseBracket)?;
                return Ok((rest, Expr { kind: list.or_hole(choice), span: start..rest.before }));
            }
            after.expected(&format!("a list after `{word}`, as in `{word} [4, 2, 1]`"));
            // where values follow all the same, only the `[` is missing
            let rest = match lines(after).next() {
                Some(TokenKind::Number | TokenKind::Quantity | TokenKind::Text) => {
                    let opening = Opening { span: after.span(), close: TokenKind::CloseBracket, missing: true };
                    more_elements(after.deeper(), &opening)?.0.as_deep_as(input)
                }
                _ => after,
            };
            return Ok((rest, Expr { kind: ExprKind::Hole, span: start..rest.before }));
        }
    }
    logic(input)
}

/// `a <= b and not c or d`: `or` binds least, then `and`, `not`, the comparisons, `+`, `*`.
pub(super) fn logic(input: Tokens) -> Parsed<Expr> {
    chain(input, both, |input| input.at_word("or"))
}

fn both(input: Tokens) -> Parsed<Expr> {
    chain(input, negation, |input| input.at_word("and"))
}

fn negation(input: Tokens) -> Parsed<Expr> {
    if input.at_word("not") { prefixed(input, negation) } else { comparison(input) }
}

/// `a <= b`, once: whether it holds compares with nothing.
fn comparison(input: Tokens) -> Parsed<Expr> {
    let (rest, first) = sum(input)?;
    if rest.next() != Some(TokenKind::Comparison) {
        return Ok((rest, first));
    }
    let operator = Name { text: rest.text(0).to_owned(), span: rest.span() };
    let (rest, right) = operand(rest.take_from(1), sum, &operator)?;
    let span = first.span.start..rest.before;
    Ok((rest, Expr { kind: ExprKind::Chain(Box::new(first), vec![(operator, right)]), span }))
}

/// `a + b - c`
pub(super) fn sum(input: Tokens) -> Parsed<Expr> {
    chain(input, product, |input| input.next() == Some(TokenKind::Sum))
}

fn product(input: Tokens) -> Parsed<Expr> {
    chain(input, unary, |input| input.next() == Some(TokenKind::Product))
}

/// Operands and the operators between them, flat.
fn chain<'a>(
    input: Tokens<'a>,
    operand: impl Fn(Tokens<'a>) -> Parsed<'a, Expr> + Copy,
    at_operator: impl Fn(Tokens<'a>) -> bool,
) -> Parsed<'a, Expr> {
    let (mut rest, first) = operand(input)?;
    let mut more = Vec::new();
    while at_operator(rest) {
        let operator = Name { text: rest.text(0).to_owned(), span: rest.span() };
        let (after, right) = self::operand(rest.take_from(1), operand, &operator)?;
        more.push((operator, right));
        rest = after;
    }
    if more.is_empty() {
        return Ok((rest, first));
    }
    let span = first.span.start..rest.before;
    Ok((rest, Expr { kind: ExprKind::Chain(Box::new(first), more), span }))
}

/// What follows an operator; a hole where nothing does.
fn operand<'a>(
    input: Tokens<'a>,
    parser: impl Fn(Tokens<'a>) -> Parsed<'a, Expr>,
    operator: &Name,
) -> Parsed<'a, Expr> {
    let (rest, found) = expect(parser, &format!("a value after `{}`", operator.text))(input)?;
    let hole = || Expr { kind: ExprKind::Hole, span: rest.before..rest.before };
    Ok((rest, found.unwrap_or_else(hole)))
}

fn unary(input: Tokens) -> Parsed<Expr> {
    let minus = input.next() == Some(TokenKind::Sum) && input.text(0) == "-";
    if minus { prefixed(input, unary) } else { primary(input) }
}

/// `-a`, `not a`: the operator is next.
fn prefixed<'a>(input: Tokens<'a>, operand: impl Fn(Tokens<'a>) -> Parsed<'a, Expr>) -> Parsed<'a, Expr> {
    let operator = Name { text: input.text(0).to_owned(), span: input.span() };
    let inside = input.take_from(1).deeper();
    if inside.depth > MOST_DEEP {
        input.report(too_deep(input.span()));
        // a run of signs is passed over whole, so that no one reads it again
        let mut rest = inside.as_deep_as(input);
        while rest.next() == Some(TokenKind::Sum) || rest.at_word("not") {
            rest = rest.take_from(1);
        }
        let span = operator.span.start..rest.before;
        return Ok((rest, Expr { kind: ExprKind::Hole, span }));
    }
    let (rest, operand) = expect(operand, &format!("a value after `{}`", operator.text))(inside)?;
    let rest = rest.as_deep_as(input);
    let span = operator.span.start..rest.before;
    let kind = operand.map_or(ExprKind::Hole, |operand| ExprKind::Unary(operator, Box::new(operand)));
    Ok((rest, Expr { kind, span }))
}

fn primary(input: Tokens) -> Parsed<Expr> {
    let span = input.span();
    let written = || input.text(0).to_owned();
    let one = |kind| Ok((input.take_from(1), Expr { kind, span: span.clone() }));
    match input.next() {
        Some(TokenKind::Number) => spaced_unit(input),
        Some(TokenKind::Quantity) => one(ExprKind::Quantity(written())),
        Some(TokenKind::Text) => one(ExprKind::Text(text(input).text)),
        Some(TokenKind::OpenText) => {
            input.report(open_text(span.clone()));
            one(ExprKind::Text(text(input).text))
        }
        Some(TokenKind::Word) if input.nth(1) == Some(TokenKind::OpenParen) => call(input),
        Some(TokenKind::Word) => words(input),
        Some(TokenKind::OpenBracket) => list(input),
        Some(TokenKind::OpenParen) => parenthesized(input),
        _ => no(input),
    }
}

/// A number; with a unit after a space it is a mistake that can be read all the same.
fn spaced_unit(input: Tokens) -> Parsed<Expr> {
    let (number, span) = (input.text(0), input.span());
    let unit = |n| {
        matches!(input.nth(n), Some(TokenKind::Word | TokenKind::Stray))
            && UNITS.iter().any(|unit| unit.name == input.text(n))
    };
    if !unit(1) {
        return Ok((input.take_from(1), Expr { kind: ExprKind::Quantity(number.to_owned()), span }));
    }
    let (rest, whole) = (input.take_from(1), span.start..input.span_of(1).end);
    let quantity = format!("{number}{}", input.text(1));
    let problem =
        Problem::new("syntax", whole.clone(), "a unit stands right after its number").label("a space between");
    rest.report(problem.help(format!("write `{quantity}`")).fix(span.end..input.span_of(1).start, ""));
    Ok((input.take_from(2), Expr { kind: ExprKind::Quantity(quantity), span: whole }))
}

/// `word`, `word.word` or `cuda:0`.
fn words(input: Tokens) -> Parsed<Expr> {
    let start = input.span().start;
    let mut text = input.text(0).to_owned();
    let mut rest = input.take_from(1);
    if rest.next() == Some(TokenKind::Colon)
        && rest.nth(1) == Some(TokenKind::Number)
        && rest.span().start == rest.before
    {
        text = format!("{text}:{}", rest.text(1));
        rest = rest.take_from(2);
    }
    while rest.next() == Some(TokenKind::Dot) {
        let (after, part) = expect(name_part, "a name after `.`")(rest.take_from(1))?;
        text.push('.');
        text.push_str(&part.map(|part| part.text).unwrap_or_default());
        rest = after;
    }
    Ok((rest, Expr { kind: ExprKind::Word(text), span: start..rest.before }))
}

/// `name` or `file.name`.
pub(super) fn path(input: Tokens) -> Parsed<Name> {
    let (mut rest, first) = token(TokenKind::Word)(input)?;
    let Name { mut text, span } = first;
    while rest.next() == Some(TokenKind::Dot) {
        let (after, part) = expect(token(TokenKind::Word), "a name after `.`")(rest.take_from(1))?;
        text.push('.');
        text.push_str(&part.map(|part| part.text).unwrap_or_default());
        rest = after;
    }
    Ok((rest, Name { text, span: span.start..rest.before }))
}

/// `layers.0.mlp` is a name too.
fn name_part(input: Tokens) -> Parsed<Name> {
    alt((token(TokenKind::Word), token(TokenKind::Number))).parse(input)
}

fn call(input: Tokens) -> Parsed<Expr> {
    let name = Name { text: input.text(0).to_owned(), span: input.span() };
    let (rest, arguments) = elements(input.take_from(1), TokenKind::CloseParen)?;
    let span = name.span.start..rest.before;
    let kind = arguments.or_hole(|arguments| ExprKind::Call(name.clone(), arguments));
    Ok((rest, Expr { kind, span }))
}

fn parenthesized(input: Tokens) -> Parsed<Expr> {
    let start = input.span().start;
    let inside = input.take_from(1).deeper();
    if inside.depth > MOST_DEEP {
        input.report(too_deep(input.span()));
        let rest = skip_bracket(inside).as_deep_as(input);
        return Ok((rest, Expr { kind: ExprKind::Hole, span: start..rest.before }));
    }
    let (rest, inner) = expect(logic, "a value after `(`")(inside)?;
    let (rest, _) = expect(token(TokenKind::CloseParen), "`)`")(rest)?;
    let rest = rest.as_deep_as(input);
    let kind = inner.map_or(ExprKind::Hole, |inner| inner.kind);
    Ok((rest, Expr { kind, span: start..rest.before }))
}

fn list(input: Tokens) -> Parsed<Expr> {
    if input.next() != Some(TokenKind::OpenBracket) {
        return no(input);
    }
    let start = input.span().start;
    let (rest, values) = elements(input, TokenKind::CloseBracket)?;
    Ok((rest, Expr { kind: values.or_hole(ExprKind::List), span: start..rest.before }))
}

/// The bracket that a list began with.
struct Opening {
    span: Range<usize>,
    close: TokenKind,
    /// It is not there, which is reported; that it is not closed is no second mistake.
    missing: bool,
}

/// The values between brackets, and whether the closing one is there.
struct List {
    values: Vec<Expr>,
    closed: bool,
}

impl List {
    /// As an expression; of a list that is not closed, nobody knows what it would be.
    fn or_hole(self, kind: impl Fn(Vec<Expr>) -> ExprKind) -> ExprKind {
        if self.closed { kind(self.values) } else { ExprKind::Hole }
    }
}

/// What stands between the bracket at the next token and `close`.
fn elements(input: Tokens, close: TokenKind) -> Parsed<List> {
    let opening = Opening { span: input.span(), close, missing: false };
    let inside = input.take_from(1).deeper();
    if inside.depth > MOST_DEEP {
        input.report(too_deep(opening.span));
        let nothing = List { values: Vec::new(), closed: false };
        return Ok((skip_bracket(inside).as_deep_as(input), nothing));
    }
    let (rest, list) = more_elements(inside, &opening)?;
    Ok((rest.as_deep_as(input), list))
}

/// Commas that are put between the values of a list at once.
const MOST_COMMAS: usize = 64;

/// Values split by commas, up to the closing bracket; newlines are free.
fn more_elements<'a>(input: Tokens<'a>, opening: &Opening) -> Parsed<'a, List> {
    let close = opening.close;
    let (open, sign) = if close == TokenKind::CloseBracket { ("[", "]") } else { ("(", ")") };
    let mut rest = input;
    let mut values = Vec::new();
    let mut comma_missing = false;
    loop {
        let at = lines(rest);
        if at.next() == Some(close) {
            return Ok((at.take_from(1), List { values, closed: true }));
        }
        let setting = at.next() == Some(TokenKind::Word) && at.nth(1) == Some(TokenKind::Assign);
        let over =
            matches!(at.next(), None | Some(TokenKind::CloseBrace | TokenKind::OpenBrace | TokenKind::Semicolon));
        if over || setting || at_item(at) || at_section(at) {
            let problem = Problem::new("syntax", opening.span.clone(), format!("`{open}` is not closed"))
                .label(format!("its `{sign}` is missing"));
            if !opening.missing {
                at.report(problem.fix(rest.before..rest.before, sign));
            }
            return Ok((rest, List { values, closed: false }));
        }
        match sum(at) {
            Ok((after, value)) => {
                values.push(value);
                rest = after;
            }
            Err(_) => {
                at.expected(&format!("a value or `{sign}`"));
                return Ok((to_close(at, close), List { values, closed: false }));
            }
        }
        let next = lines(rest);
        match next.next() {
            Some(TokenKind::Comma) => rest = next.take_from(1),
            Some(kind) if kind == close => {}
            Some(kind)
                if begins(kind) && next.nth(1) != Some(TokenKind::Assign) && !at_item(next) && !at_section(next) =>
            {
                if !comma_missing {
                    let end = rest.before..rest.before;
                    let problem =
                        Problem::new("syntax", end.clone(), "expected `,` between two values").label("`,` is missing");
                    let first = values.last().map_or(end.start, |value| value.span.start);
                    let (range, text) = with_commas(next, first).unwrap_or((end, ",".to_owned()));
                    next.report(problem.fix(range, text));
                }
                comma_missing = true;
            }
            None | Some(TokenKind::Word | TokenKind::CloseBrace | TokenKind::OpenBrace | TokenKind::Semicolon) => {}
            Some(_) => {
                next.expected(&format!("`,` or `{sign}`"));
                return Ok((to_close(next, close), List { values, closed: false }));
            }
        }
    }
}

/// The values of a list from the one before on, with commas, where more than one is missing: up to what is no single word or number.
fn with_commas(next: Tokens<'_>, first: usize) -> Option<(Range<usize>, String)> {
    let single = |n: &usize| {
        matches!(next.nth(*n), Some(TokenKind::Number | TokenKind::Quantity | TokenKind::Text | TokenKind::Word))
            && next.nth(*n + 1) != Some(TokenKind::Assign)
    };
    let count = (0..MOST_COMMAS).take_while(single).count();
    let mut text = next.between(first, next.before).to_owned();
    let mut end = next.before;
    for n in 0..count {
        let span = next.span_of(n);
        text += ",";
        text += next.between(end, span.end);
        end = span.end;
    }
    (count > 1).then_some((first..end, text))
}

/// Passes over newlines only: `;` ends a statement even in a list.
fn lines(input: Tokens) -> Tokens {
    let count = input.position(|token| token.kind != TokenKind::Newline);
    input.take_from(count.unwrap_or(input.input_len()))
}

/// Passes over what cannot be read to the closing bracket, if that is on the same line.
fn to_close(input: Tokens, close: TokenKind) -> Tokens {
    let mut rest = input;
    while let Some(kind) = rest.next() {
        match kind {
            TokenKind::Newline | TokenKind::OpenBrace | TokenKind::CloseBrace | TokenKind::Semicolon => return rest,
            _ => rest = rest.take_from(1),
        }
        if kind == close {
            return rest;
        }
    }
    rest
}
