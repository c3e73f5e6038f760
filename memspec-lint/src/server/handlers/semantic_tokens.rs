//! Colours by meaning, where a grammar of words alone cannot tell: settings, blocks, symbols, names.

use std::collections::HashMap;

use gen_lsp_types as lsp;
use memspec::lang::tree::{Body, Expr, ExprKind, Item, Statement};
use memspec::lang::{Token, TokenKind, Tree};

use crate::server::documents::Open;
use crate::server::names::{Kind, Names};
use crate::server::positions::clamped;
use crate::server::snapshot::Snapshot;

/// What a token is called, in the order of the legend.
const TYPES: &[&str] = &[
    "keyword",
    "comment",
    "string",
    "number",
    "operator",
    "property",
    "struct",
    "enumMember",
    "variable",
    "function",
    "interface",
    "class",
    "namespace",
];

/// The names of the kinds of tokens.
pub(crate) fn legend() -> lsp::SemanticTokensLegend {
    lsp::SemanticTokensLegend {
        token_types: TYPES.iter().map(|name| (*name).to_owned()).collect(),
        token_modifiers: vec!["documentation".to_owned(), "declaration".to_owned()],
    }
}

const DOCUMENTATION: u32 = 1;
const DECLARATION: u32 = 2;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::SemanticTokensParams) -> Option<lsp::SemanticTokens> {
    let open = snapshot.open(&params.text_document.uri)?;
    let tree = open.tree()?;
    let meanings = Meanings::of(tree);
    let mut data = Vec::new();
    let mut last = lsp::Position::default();
    for token in &tree.tokens {
        let Some((name, modifiers)) = meanings.of_token(token, open) else { continue };
        let start = snapshot.position(open, token.span.start);
        let text = open.text().get(token.span.clone()).unwrap_or_default().trim_end_matches(['\r', '\n']);
        let length: usize = text.chars().map(|character| snapshot.encoding.width(character)).sum();
        let delta_line = start.line - last.line;
        data.push(lsp::SemanticToken {
            delta_line,
            delta_start: if delta_line == 0 { start.character - last.character } else { start.character },
            length: clamped(length),
            token_type: clamped(TYPES.iter().position(|known| *known == name)?),
            token_modifiers_bitset: modifiers,
        });
        last = start;
    }
    Some(lsp::SemanticTokens { result_id: None, data })
}

/// What words mean, by where they begin.
#[derive(Default)]
struct Meanings {
    words: HashMap<usize, (&'static str, u32)>,
}

impl Meanings {
    fn of(tree: &Tree) -> Self {
        let mut meanings = Self::default();
        for item in &tree.items {
            match item {
                Item::Plan(plan) => {
                    meanings.note(plan.keyword.span.start, "keyword", 0);
                    if let Some(name) = &plan.name {
                        let what = if plan.keyword.text == "profile" { "interface" } else { "class" };
                        meanings.note(name.span.start, what, DECLARATION);
                    }
                    meanings.body(&plan.body);
                }
                Item::Let(assign) => assign.value.iter().for_each(|value| meanings.expression(value)),
                Item::Misplaced(statement) => meanings.statement(statement),
                _ => {}
            }
        }
        let names = Names::of(tree);
        names.members.iter().for_each(|member| meanings.note(member.span.start, "variable", 0));
        for definition in names.definitions {
            let what = match definition.kind {
                Kind::Let => "variable",
                Kind::Profile => "interface",
                Kind::Import => "namespace",
            };
            meanings.note(definition.name.span.start, what, DECLARATION);
            definition.uses.iter().for_each(|used| meanings.note(used.start, what, 0));
        }
        meanings
    }

    fn note(&mut self, at: usize, what: &'static str, modifiers: u32) {
        self.words.insert(at, (what, modifiers));
    }

    fn body(&mut self, body: &Body) {
        body.statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Assign(assign) => {
                self.note(assign.name.span.start, "property", 0);
                assign.value.iter().for_each(|value| self.expression(value));
            }
            Statement::Let(assign) => assign.value.iter().for_each(|value| self.expression(value)),
            Statement::Block(block) => {
                self.note(block.name.span.start, "struct", 0);
                block.kind.iter().for_each(|kind| self.note(kind.span.start, "enumMember", 0));
                self.body(&block.body);
            }
            Statement::Limit(limit) => {
                self.expression(&limit.left);
                limit.right.iter().for_each(|right| self.expression(right));
                if let ExprKind::Word(_) = limit.left.kind {
                    self.note(limit.left.span.start, "property", 0);
                }
            }
            Statement::Assert { .. } | Statement::Error(_) => {}
        }
    }

    fn expression(&mut self, expression: &Expr) {
        match &expression.kind {
            ExprKind::Word(word) if word != "true" && word != "false" => {
                self.note(expression.span.start, "enumMember", 0);
            }
            ExprKind::Call(name, values) => {
                self.note(name.span.start, "function", 0);
                values.iter().for_each(|value| self.expression(value));
            }
            ExprKind::List(values) | ExprKind::Fit(values) | ExprKind::Sweep(values) => {
                values.iter().for_each(|value| self.expression(value));
            }
            ExprKind::Chain(first, more) => {
                self.expression(first);
                more.iter().for_each(|(_, operand)| self.expression(operand));
            }
            ExprKind::Unary(_, operand) => self.expression(operand),
            _ => {}
        }
    }

    fn of_token(&self, token: &Token, open: &Open) -> Option<(&'static str, u32)> {
        if let Some(meaning) = self.words.get(&token.span.start) {
            return Some(*meaning);
        }
        Some(match token.kind {
            TokenKind::Comment => ("comment", 0),
            TokenKind::Doc => ("comment", DOCUMENTATION),
            TokenKind::Text | TokenKind::OpenText => ("string", 0),
            TokenKind::Number | TokenKind::Quantity => ("number", 0),
            TokenKind::Comparison | TokenKind::Sum | TokenKind::Product | TokenKind::Assign => ("operator", 0),
            TokenKind::Word if is_keyword(open.text().get(token.span.clone())?) => ("keyword", 0),
            _ => return None,
        })
    }
}

/// Words of the language itself.
fn is_keyword(word: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "mem", "import", "as", "let", "plan", "profile", "extends", "fit", "sweep", "assert", "else", "and", "or",
        "not", "true", "false",
    ];
    KEYWORDS.contains(&word)
}
