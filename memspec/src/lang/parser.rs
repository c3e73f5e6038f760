//! Tokens to a tree. Total: every text has a tree, one mistake is one error, and the time is linear in the length.
//!
//! Recovery: a parser that has seen enough to know what it is in commits; what is missing after that is noted, nothing
//! is consumed, and a hole stays. Statements end at a newline, `;` or `}`; a block that was not closed ends where the
//! next block of a plan or the next plan begins.

mod expression;

use std::cell::RefCell;
use std::ops::Range;

use nom::branch::alt;
use nom::multi::separated_list1;
use nom::{Input, Parser};

use super::lexer::{TokenKind, lex};
use super::tokens::{Mistakes, Parsed, Tokens, expect, newlines, no, skip_bracket, sync, token};
use super::tree::{Assert, Assign, Block, Body, Expr, Import, Item, Limit, Name, Plan, Statement, Tree};
use crate::plan::{Plan as Spec, Problem};
use expression::{logic, sum, value};

/// Brackets, braces and parentheses may stand this deep in each other; deeper is an error, not a stack overflow.
const MOST_DEEP: usize = 64;

/// The tree of a text.
pub fn parse(text: &str) -> Tree {
    let tokens = lex(text);
    let significant: Vec<_> = tokens.iter().filter(|token| !token.kind.is_trivia()).cloned().collect();
    let mistakes = RefCell::new(Mistakes::default());
    let items = items(Tokens::new(&significant, text, &mistakes));
    Tree { tokens, items, errors: mistakes.into_inner().problems }
}

/// The expression that a text is, and nothing else.
pub(crate) fn parse_expression(text: &str) -> Result<Expr, Box<Problem>> {
    let tokens: Vec<_> = lex(text).into_iter().filter(|token| !token.kind.is_trivia()).collect();
    let mistakes = RefCell::new(Mistakes::default());
    let input = Tokens::new(&tokens, text, &mistakes);
    let mut parsed = None;
    if let Ok((rest, found)) = expect(logic, "a value")(input) {
        if found.is_some() && rest.next().is_some() {
            rest.expected("nothing more");
        }
        parsed = found;
    }
    match (parsed, mistakes.take().problems.into_iter().next()) {
        (Some(expr), None) => Ok(expr),
        (_, Some(problem)) => Err(Box::new(problem)),
        (None, None) => Err(Box::new(Problem::new("syntax", 0..text.len(), "this is no expression"))),
    }
}

fn items(mut input: Tokens) -> Vec<Item> {
    let mut items = Vec::new();
    // statements outside of a plan come in runs, after a `}` too many: one mistake
    let mut astray = false;
    loop {
        input = newlines(input);
        if input.next().is_none() {
            return items;
        }
        if input.next() == Some(TokenKind::CloseBrace) {
            if !astray {
                input.report(
                    Problem::new("syntax", input.span(), "this `}` closes nothing").label("nothing is open here"),
                );
            }
            input = input.take_from(1);
            continue;
        }
        let parsed = alt((edition, import, top_let, plan)).parse(input);
        let item = match parsed {
            Ok((rest, item)) => {
                input = rest;
                astray = false;
                item
            }
            Err(_) => {
                if !astray {
                    input.report(outside(input));
                }
                astray = true;
                let mut quiet = Vec::new();
                input = statement_and_end(input, &mut quiet);
                items.extend(quiet.into_iter().map(Item::Misplaced));
                continue;
            }
        };
        items.push(item);
        if !input.at_line_end() && input.next() != Some(TokenKind::CloseBrace) && !at_item(input) {
            input.expected("the end of the line");
            if let Ok((rest, span)) = sync(input) {
                items.push(Item::Error(span));
                input = rest;
            }
        }
    }
}

fn outside(input: Tokens) -> Problem {
    let (span, found) = (input.span(), input.text(0));
    if input.next() != Some(TokenKind::Word) {
        return input.unexpected("`plan \"name\" { .. }` or `let`");
    }
    if let Some(meant) =
        crate::plan::nearest(found, ["plan", "import", "profile"]).filter(|_| input.nth(1) == Some(TokenKind::Text))
    {
        let problem =
            Problem::new("syntax", span.clone(), format!("`{found}` is not an item of a file")).label("unknown");
        return problem.help(format!("did you mean `{meant}`?")).fix(span, meant);
    }
    Problem::new("syntax", span, format!("`{found}` stands outside of a plan"))
        .label("in no plan")
        .help("settings and blocks stand in `plan \"name\" { .. }`; look for a `}` too many above")
}

fn edition(input: Tokens) -> Parsed<Item> {
    if !input.at_word("mem") || input.nth(1) == Some(TokenKind::Assign) {
        return no(input);
    }
    let start = input.span().start;
    let (rest, number) = expect(token(TokenKind::Number), "the edition's number after `mem`")(input.take_from(1))?;
    Ok((rest, Item::Edition { number, span: start..rest.before }))
}

fn import(input: Tokens) -> Parsed<Item> {
    if !input.at_word("import") || input.nth(1) == Some(TokenKind::Assign) {
        return no(input);
    }
    let (rest, path) = expect(token(TokenKind::Text), "a file in quotes after `import`")(input.take_from(1))?;
    let path = path.map(|_| expression::text(input.take_from(1)));
    let (rest, alias) = match path {
        Some(_) if rest.at_word("as") => expect(token(TokenKind::Word), "a name after `as`")(rest.take_from(1))?,
        _ => (rest, None),
    };
    Ok((rest, Item::Import(Import { path, alias, span: input.span().start..rest.before })))
}

fn top_let(input: Tokens) -> Parsed<Item> {
    let_(input).map(|(rest, assign)| (rest, Item::Let(assign)))
}

fn let_(input: Tokens) -> Parsed<Assign> {
    if !input.at_word("let") || input.nth(1) == Some(TokenKind::Assign) {
        return no(input);
    }
    let start = input.span().start;
    let (rest, name) = expect(token(TokenKind::Word), "a name after `let`")(input.take_from(1))?;
    let Some(name) = name else {
        let hole = Name { text: String::new(), span: rest.before..rest.before };
        let (rest, span) = sync(rest)?;
        return Ok((rest, Assign { name: hole, value: None, span: start..span.end }));
    };
    let (rest, equals) = expect(token(TokenKind::Assign), "`=`")(rest)?;
    let (rest, value) = if equals.is_some() { expect(value, "a value after `=`")(rest)? } else { (rest, None) };
    Ok((rest, Assign { name, value, span: start..rest.before }))
}

fn plan(input: Tokens) -> Parsed<Item> {
    if !at_item(input) || input.at_word("import") {
        return no(input);
    }
    let (rest, keyword) = token(TokenKind::Word)(input)?;
    let (mut rest, name) = plan_name(rest, &keyword);
    let mut extends = Vec::new();
    if rest.at_word("extends") {
        let (after, names) = expect(profiles, "the name of a profile after `extends`")(rest.take_from(1))?;
        extends = names.unwrap_or_default();
        rest = after;
    }
    let header = keyword.span.start..rest.before;
    let (rest, body) = body(rest, header, &keyword.text, Section::Plan);
    let span = keyword.span.start..rest.before;
    Ok((rest, Item::Plan(Plan { keyword, name, extends, body, span })))
}

fn profiles(input: Tokens) -> Parsed<Vec<Name>> {
    separated_list1(token(TokenKind::Comma), expression::path).parse(input)
}

fn plan_name<'a>(input: Tokens<'a>, keyword: &Name) -> (Tokens<'a>, Option<Name>) {
    match input.next() {
        Some(TokenKind::Text) => (input.take_from(1), Some(expression::text(input))),
        Some(TokenKind::Word) if !input.at_word("extends") => {
            let (span, text) = (input.span(), input.text(0).to_owned());
            if keyword.text == "plan" {
                let problem = Problem::new("syntax", span.clone(), "a plan's name stands in quotes").label("no quotes");
                input.report(problem.help(format!("write `plan \"{text}\"`")).fix(span.clone(), format!("\"{text}\"")));
            }
            (input.take_from(1), Some(Name { text, span }))
        }
        Some(TokenKind::OpenText) => {
            input.expected("");
            (input.take_from(1), None)
        }
        _ => {
            let after = format!("a name in quotes after `{}`", keyword.text);
            input.expected(&after);
            (input, None)
        }
    }
}

/// What kind of body is being read, which decides what ends it when its `}` is missing.
#[derive(Clone, Copy, PartialEq)]
enum Section {
    Plan,
    Block,
}

/// `plan`, `profile` and `import` stand at the beginning of a line in a file, so they close every block left open.
fn at_item(input: Tokens) -> bool {
    match input.next() {
        Some(TokenKind::Word) => match input.text(0) {
            "plan" | "profile" => {
                matches!(input.nth(1), Some(TokenKind::Text | TokenKind::Word | TokenKind::OpenBrace))
            }
            "import" => input.nth(1) == Some(TokenKind::Text),
            _ => false,
        },
        _ => false,
    }
}

/// The blocks of a plan never stand in each other: seeing one means that the `}` before it is missing.
fn at_section(input: Tokens) -> bool {
    input.next() == Some(TokenKind::Word)
        && Spec::SPEC.block(input.text(0)).is_some()
        && (input.nth(1) == Some(TokenKind::OpenBrace)
            || (matches!(input.nth(1), Some(TokenKind::Word)) && input.nth(2) == Some(TokenKind::OpenBrace)))
}

/// Whether the next token is further from the left than the one at `outer`: it is meant to be inside.
fn indented(input: Tokens, outer: usize) -> bool {
    match (input.column(input.span().start), input.column(outer)) {
        (Some(inner), Some(outer)) => inner > outer,
        _ => false,
    }
}

/// `{ statements }`, or what there is of it.
fn body<'a>(input: Tokens<'a>, header: Range<usize>, name: &str, section: Section) -> (Tokens<'a>, Body) {
    let mut opened = input;
    if input.next() != Some(TokenKind::OpenBrace) {
        let below = newlines(input);
        if below.next() == Some(TokenKind::OpenBrace) && input.at_line_end() {
            let problem = Problem::new("syntax", below.span(), "`{` stands on the line that it belongs to")
                .label("on a line of its own");
            below.report(problem.help(format!("write `{name} .. {{`")).fix(input.before..below.span().start, " "));
            opened = below;
        } else {
            let problem = input.unexpected(&format!("`{{` after `{name}`"));
            input.report(problem.fix(input.before..input.before, " {"));
            // with its statements indented below it, only the `{` is missing; else the body is
            if !(input.at_line_end() && below.next().is_some() && indented(below, header.start)) {
                let at = input.before..input.before;
                return (input, Body { span: at, ..Body::default() });
            }
        }
    }
    let start = opened.span().start;
    let inside = if opened.next() == Some(TokenKind::OpenBrace) { opened.take_from(1) } else { opened };
    let mut rest = inside.deeper();
    let mut statements = Vec::new();
    if rest.depth > MOST_DEEP {
        opened.report(too_deep(opened.span()));
        let rest = skip_bracket(inside);
        return (rest, Body { statements, span: start..rest.before, closed: true });
    }
    loop {
        let at = newlines(rest);
        if at.next() == Some(TokenKind::CloseBrace) {
            let rest = at.take_from(1).as_deep_as(input);
            return (rest, Body { statements, span: start..rest.before, closed: true });
        }
        if at.next().is_none()
            || at_item(at)
            || (section == Section::Block && at_section(at) && !indented(at, header.start))
        {
            let problem = Problem::new("syntax", header, format!("`{name}` is not closed")).label("its `}` is missing");
            at.report(problem.fix(rest.before..rest.before, "\n}"));
            // the newlines belong to whoever reads on
            let rest = rest.as_deep_as(input);
            return (rest, Body { statements, span: start..rest.before.max(start), closed: false });
        }
        rest = statement_and_end(at, &mut statements);
    }
}

fn too_deep(span: Range<usize>) -> Problem {
    Problem::new("syntax", span, format!("more than {MOST_DEEP} levels deep")).label("too deep")
}

/// A statement and the end of its line.
fn statement_and_end<'a>(input: Tokens<'a>, statements: &mut Vec<Statement>) -> Tokens<'a> {
    let mut input = match statement(input) {
        Ok((rest, statement)) => {
            statements.push(statement);
            rest
        }
        Err(_) => {
            input.expected("a setting `name = value`, a block or a limit");
            input
        }
    };
    if !input.at_line_end() && input.next() != Some(TokenKind::CloseBrace) {
        input.expected("the end of the line");
        if let Ok((rest, span)) = sync(input) {
            statements.push(Statement::Error(span));
            input = rest;
        }
    }
    input
}

fn statement(input: Tokens) -> Parsed<Statement> {
    alt((let_statement, assert, block, assign, limit)).parse(input)
}

fn let_statement(input: Tokens) -> Parsed<Statement> {
    let_(input).map(|(rest, assign)| (rest, Statement::Let(assign)))
}

fn assert(input: Tokens) -> Parsed<Statement> {
    if !input.at_word("assert") || matches!(input.nth(1), Some(TokenKind::Assign | TokenKind::OpenBrace)) {
        return no(input);
    }
    let (rest, condition) =
        expect(condition, "a condition after `assert`, such as `device_memory <= 14.5GiB`")(input.take_from(1))?;
    let (rest, otherwise) = if rest.at_word("else") {
        expect(message, "a message in quotes after `else`")(rest.take_from(1))?
    } else {
        (rest, None)
    };
    Ok((rest, Statement::Assert(Assert { condition, otherwise, span: input.span().start..rest.before })))
}

fn condition(input: Tokens) -> Parsed<Expr> {
    if input.at_word("else") { no(input) } else { logic(input) }
}

fn message(input: Tokens) -> Parsed<Name> {
    if input.next() == Some(TokenKind::Text) { Ok((input.take_from(1), expression::text(input))) } else { no(input) }
}

fn block(input: Tokens) -> Parsed<Statement> {
    let (rest, name) = token(TokenKind::Word)(input)?;
    let kind = match rest.next() {
        Some(TokenKind::Word) => Some(Name { text: rest.text(0).to_owned(), span: rest.span() }),
        Some(TokenKind::Text) => Some(expression::text(rest)),
        _ => None,
    };
    let after = if kind.is_some() { rest.take_from(1) } else { rest };
    // `adapter lora` is a block even when its `{` is missing
    let known =
        Spec::SPEC.block(&name.text).is_some() && (after.at_line_end() || after.next() == Some(TokenKind::CloseBrace));
    if after.next() != Some(TokenKind::OpenBrace) && !known {
        return no(input);
    }
    let (rest, body) = body(after, name.span.start..after.before, &name.text, Section::Block);
    let span = name.span.start..rest.before;
    Ok((rest, Statement::Block(Block { name, kind, body, span })))
}

fn assign(input: Tokens) -> Parsed<Statement> {
    let (rest, name) = token(TokenKind::Word)(input)?;
    let rest = match rest.next() {
        Some(TokenKind::Assign) => rest.take_from(1),
        Some(TokenKind::Colon) => {
            let problem =
                Problem::new("syntax", rest.span(), "a setting is written with `=`, not `:`").label("not `=`");
            rest.report(problem.fix(name.span.end..rest.span().end, " ="));
            rest.take_from(1)
        }
        Some(kind) if expression::begins(kind) => {
            let problem =
                Problem::new("syntax", name.span.end..name.span.end, format!("expected `=` after `{}`", name.text));
            rest.report(problem.label("`=` is missing").fix(name.span.end..name.span.end, " ="));
            rest
        }
        _ => return no(input),
    };
    let (rest, value) = expect(value, "a value after `=`")(rest)?;
    let span = name.span.start..rest.before;
    Ok((rest, Statement::Assign(Assign { name, value, span })))
}

fn limit(input: Tokens) -> Parsed<Statement> {
    let start = input.span().start;
    let (rest, left) = sum(input)?;
    let (rest, sign) = expect(token(TokenKind::Comparison), "`=` and a value, or a limit such as `<= 14.5GiB`")(rest)?;
    let Some(sign) = sign else {
        return Ok((rest, Statement::Error(left.span)));
    };
    let (rest, right) = expect(sum, "a quantity to compare with")(rest)?;
    Ok((rest, Statement::Limit(Limit { left, sign, right, span: start..rest.before })))
}
