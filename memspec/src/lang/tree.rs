//! What the parser makes of a text.

use std::ops::Range;

use super::lexer::{Token, TokenKind};
use crate::plan::Problem;

/// A parsed text: all of its tokens, the items found in them, and the mistakes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// Every token, comments and spaces too: joined they are the text.
    pub tokens: Vec<Token>,
    /// The items of the file.
    pub items: Vec<Item>,
    /// Mistakes of syntax, in order of place.
    pub errors: Vec<Problem>,
}

/// A word or text, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Without quotes and escapes.
    pub text: String,
    /// With its quotes.
    pub span: Range<usize>,
}

/// An item of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `mem 1`
    Edition {
        /// The number, as written.
        number: Option<Name>,
        /// All of it.
        span: Range<usize>,
    },
    /// `import "file" as name`
    Import(Import),
    /// `let name = value`
    Let(Assign),
    /// `plan "name" { }` or `profile name { }`
    Plan(Plan),
    /// A statement that should stand in a plan.
    Misplaced(Statement),
    /// What could not be read.
    Error(Range<usize>),
}

impl Item {
    /// All of it.
    pub fn span(&self) -> Range<usize> {
        match self {
            Item::Edition { span, .. } | Item::Error(span) => span.clone(),
            Item::Import(import) => import.span.clone(),
            Item::Let(assign) => assign.span.clone(),
            Item::Plan(plan) => plan.span.clone(),
            Item::Misplaced(statement) => statement.span(),
        }
    }

    /// It is what an item of a file may be.
    pub(super) fn is_read(&self) -> bool {
        !matches!(self, Item::Misplaced(_) | Item::Error(_))
    }
}

impl Statement {
    /// All of it.
    pub fn span(&self) -> Range<usize> {
        match self {
            Statement::Assign(assign) | Statement::Let(assign) => assign.span.clone(),
            Statement::Block(block) => block.span.clone(),
            Statement::Limit(limit) => limit.span.clone(),
            Statement::Assert(assert) => assert.span.clone(),
            Statement::Error(span) => span.clone(),
        }
    }
}

/// `import "file" as name`
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The file; none when it is missing.
    pub path: Option<Name>,
    /// The name that stands for it.
    pub alias: Option<Name>,
    /// All of it.
    pub span: Range<usize>,
}

/// A plan or profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// `plan` or `profile`.
    pub keyword: Name,
    /// Its name; none when it is missing.
    pub name: Option<Name>,
    /// What follows `extends`: `name`, or `file.name` of a file that was imported under a name.
    pub extends: Vec<Name>,
    /// What it holds.
    pub body: Body,
    /// All of it.
    pub span: Range<usize>,
}

/// Statements between braces.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body {
    /// In order.
    pub statements: Vec<Statement>,
    /// Braces included.
    pub span: Range<usize>,
    /// Whether its `}` is there.
    pub closed: bool,
}

/// A statement of a block.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `name = value`
    Assign(Assign),
    /// `let name = value`
    Let(Assign),
    /// `name kind { }`
    Block(Block),
    /// `left <= right`
    Limit(Limit),
    /// `assert condition else "message"`
    Assert(Assert),
    /// What could not be read.
    Error(Range<usize>),
}

/// `name = value`
#[derive(Clone, Debug, PartialEq)]
pub struct Assign {
    /// What is set.
    pub name: Name,
    /// To what; none when it is missing. The range from `=` to the line's end belongs to it all the same.
    pub value: Option<Expr>,
    /// All of it.
    pub span: Range<usize>,
}

/// `name kind { .. }`
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Its name.
    pub name: Name,
    /// What stands between its name and `{`.
    pub kind: Option<Name>,
    /// What it holds.
    pub body: Body,
    /// All of it.
    pub span: Range<usize>,
}

/// `left <= right`
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The left side.
    pub left: Expr,
    /// The comparison.
    pub sign: Name,
    /// The right side; none when it is missing.
    pub right: Option<Expr>,
    /// All of it.
    pub span: Range<usize>,
}

/// `assert condition else "message"`
#[derive(Clone, Debug, PartialEq)]
pub struct Assert {
    /// What has to be true; none when it is missing.
    pub condition: Option<Expr>,
    /// What is said when it is not.
    pub otherwise: Option<Name>,
    /// All of it.
    pub span: Range<usize>,
}

/// An expression and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// All of it.
    pub span: Range<usize>,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number, with its unit if it has one.
    Quantity(String),
    /// A text in quotes.
    Text(String),
    /// A word, or words joined by `.`.
    Word(String),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `fit [a, b]`
    Fit(Vec<Expr>),
    /// `sweep [a, b]`
    Sweep(Vec<Expr>),
    /// `max(a, b)`
    Call(Name, Vec<Expr>),
    /// `a + b - c`: operators of one precedence, from the left. Kept flat, so that a long sum is not a deep tree.
    Chain(Box<Expr>, Vec<(Name, Expr)>),
    /// `-a`, `not a`
    Unary(Name, Box<Expr>),
    /// Missing, or not readable; reported.
    Hole,
}

impl Tree {
    /// The documentation (`## ..` lines) right above the byte `start`, where an item or statement begins.
    pub fn docs(&self, text: &str, start: usize) -> Option<String> {
        let end = self.tokens.partition_point(|token| token.span.start < start);
        let mut lines = Vec::new();
        let mut newlines = 0;
        for token in self.tokens[..end].iter().rev() {
            match token.kind {
                TokenKind::Doc => {
                    lines.push(text.get(token.span.clone())?.trim_start_matches('#').trim());
                    newlines = 0;
                }
                TokenKind::Space => {}
                // a blank line ends it
                TokenKind::Newline if newlines == 0 => newlines = 1,
                _ => break,
            }
        }
        lines.reverse();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}
