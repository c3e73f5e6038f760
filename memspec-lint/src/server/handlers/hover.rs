//! What a word means: a setting with its default and price, a model's or device's card, a plan's breakdown, a name's definition, a rule's page.

mod card;
mod key;
mod page;

pub(super) use key::about;

use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::lang::TokenKind;
use memspec::plan::{Block, Plan, Symbol};

use crate::context::{Repairs, Seen};
use crate::registry;
use crate::server::cursor::Cursor;
use crate::server::documents::Open;
use crate::server::names::Names;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::HoverParams) -> Option<lsp::Hover> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let offset = snapshot.offset(open, position.position);
    let context = snapshot.context(open, Repairs::None);
    let (span, mut text) = allowed(open, offset)
        .or_else(|| named(open, offset))
        .or_else(|| match open.document.foreign {
            Some(_) => key::at(&context, offset),
            None => written(&context, offset),
        })
        .or_else(|| word(open, offset))?;
    for finding in open.findings(&context) {
        let here = finding.labels.first().is_some_and(|label| label.span.start <= offset && offset < label.span.end);
        if let Some(rule) = registry::find(finding.rule).filter(|_| here) {
            text += &format!("\n\n---\n\n{}: {}\n\n{}", finding.severity, finding.message, page::rule(rule));
        }
    }
    let contents = lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value: text };
    Some(lsp::Hover { contents: contents.into(), range: Some(snapshot.range(open, span)) })
}

type Found = (Range<usize>, String);

/// The rule that a comment allows.
fn allowed(open: &Open, offset: usize) -> Option<Found> {
    let mut names = open.document.allows.iter().flat_map(|allow| &allow.names);
    let (name, span) = names.find(|(_, span)| span.start <= offset && offset <= span.end)?;
    Some((span.clone(), page::rule(registry::find(name)?)))
}

/// A `let` or profile: how it is defined, and what its documentation says.
fn named(open: &Open, offset: usize) -> Option<Found> {
    let tree = open.tree()?;
    let names = Names::of(tree);
    let (definition, span) = names.at(offset)?;
    let docs = tree.docs(open.text(), definition.span.start).unwrap_or_default();
    let text = open.text().get(definition.span.clone())?;
    Some((span, format!("```mem\n{}\n```\n\n{docs}", text.trim_end())))
}

/// What is written in a plan that was read: its name, a setting, a value.
fn written(context: &crate::Context<'_>, offset: usize) -> Option<Found> {
    let on = |span: &Range<usize>| span.start <= offset && offset <= span.end && !span.is_empty();
    let holds = |plan: &&Seen<'_>| plan.written.spans.get("plan").is_some_and(|place| on(&place.statement));
    let plan = context
        .plans
        .iter()
        .filter(holds)
        .min_by_key(|plan| plan.written.spans.get("plan").map(|place| place.statement.len()))?;
    let spans = &plan.written.spans;
    for path in ["plan", "name"] {
        if let Some(place) = spans.get(path).filter(|place| on(&place.key) || path == "name" && on(&place.value)) {
            return Some((place.key.clone(), page::plan(plan)));
        }
    }
    let path = spans.at(offset).filter(|path| *path != "plan")?;
    let place = spans.get(path)?;
    // `fit [4, 2]`: its elements are the setting's
    let path = path.split('[').next().unwrap_or(path);
    let setting = spans.get(path)?;
    if on(&setting.key) && Plan::setting(path).is_some() {
        return Some((setting.key.clone(), page::setting(path, plan)?));
    }
    if let Some(block) = Plan::SPEC.block(path).filter(|_| on(&setting.key)) {
        return Some((setting.key.clone(), page::block(block, plan)));
    }
    if let Some(block) = path.strip_suffix(".kind").and_then(|block| Plan::SPEC.block(block)) {
        let word = context.text(setting.value.clone());
        return Some((setting.value.clone(), symbol(block.kinds, word)?));
    }
    let value = if on(&place.value) { &place.value } else { return None };
    let word = context.text(value.clone()).trim_matches(['"', '\'']);
    let text = match path {
        "model" => card::model(word, context),
        "device" => card::device(word),
        path => symbol(&Plan::setting(path)?.kind.symbols(), word),
    };
    Some((value.clone(), text.or_else(|| page::setting(path, plan))?))
}

/// A word of a text that was not understood where it stands.
fn word(open: &Open, offset: usize) -> Option<Found> {
    let tree = open.tree()?;
    let token = tree.tokens.iter().find(|token| token.span.start <= offset && offset < token.span.end)?;
    let text = open.text().get(token.span.clone())?;
    if token.kind != TokenKind::Word {
        return None;
    }
    let cursor = Cursor::at(open.text(), &tree.tokens, token.span.start);
    let block: &Block = match cursor.block() {
        Some("plan" | "profile") => Plan::SPEC,
        Some(name) => Plan::SPEC.block(name)?,
        None => return Some((token.span.clone(), page::keyword(text)?.to_owned())),
    };
    let page = match cursor.setting() {
        Some(setting) => symbol(&block.setting(setting)?.kind.symbols(), text),
        None => block.setting(text).map(page::meaning).or_else(|| block.block(text).map(|block| block.doc.to_owned())),
    };
    Some((token.span.clone(), page.or_else(|| page::keyword(text).map(str::to_owned))?))
}

fn symbol(symbols: &[Symbol], word: &str) -> Option<String> {
    let symbol = symbols.iter().find(|symbol| symbol.name == word)?;
    Some(format!("`{}`: {}", symbol.name, symbol.doc))
}
