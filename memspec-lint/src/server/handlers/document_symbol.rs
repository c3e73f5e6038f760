//! The outline: plans and profiles, their blocks and settings, and names.

use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::exchange::foreign;
use memspec::lang::tree::{Assign, Body, ExprKind, Item, Plan, Statement};
use memspec::plan::{self, Place};

use crate::server::documents::Open;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::DocumentSymbolParams) -> Option<lsp::DocumentSymbolResponse> {
    let open = snapshot.open(&params.text_document.uri)?;
    let outline = Outline { snapshot, open };
    let symbols: Vec<lsp::DocumentSymbol> = match open.tree() {
        Some(tree) => tree.items.iter().filter_map(|item| outline.item(item)).collect(),
        None => open.document.plans.iter().filter_map(|written| outline.written(written)).collect(),
    };
    Some(symbols.into())
}

struct Outline<'a> {
    snapshot: &'a Snapshot,
    open: &'a Open,
}

impl Outline<'_> {
    fn item(&self, item: &Item) -> Option<lsp::DocumentSymbol> {
        match item {
            Item::Let(assign) => self.assign(assign, lsp::SymbolKind::Variable),
            Item::Plan(plan) => Some(self.plan(plan)),
            _ => None,
        }
    }

    fn plan(&self, plan: &Plan) -> lsp::DocumentSymbol {
        let kind = if plan.keyword.text == "profile" { lsp::SymbolKind::Interface } else { lsp::SymbolKind::Class };
        let (name, key) = match &plan.name {
            Some(name) => (name.text.as_str(), &name.span),
            None => (plan.keyword.text.as_str(), &plan.keyword.span),
        };
        self.symbol(name, Some(plan.keyword.text.clone()), kind, (&plan.span, key), self.body(&plan.body))
    }

    fn body(&self, body: &Body) -> Vec<lsp::DocumentSymbol> {
        let statement = |statement: &Statement| match statement {
            Statement::Let(assign) => self.assign(assign, lsp::SymbolKind::Variable),
            Statement::Assign(assign) => self.assign(assign, lsp::SymbolKind::Property),
            Statement::Block(block) => {
                let kind = block.kind.as_ref().map(|kind| kind.text.clone());
                let spans = (&block.span, &block.name.span);
                Some(self.symbol(&block.name.text, kind, lsp::SymbolKind::Struct, spans, self.body(&block.body)))
            }
            Statement::Limit(limit) => {
                let figure = match &limit.left.kind {
                    ExprKind::Word(word) => word.as_str(),
                    _ => "limit",
                };
                let detail =
                    format!("{} {}", limit.sign.text, self.value(limit.right.as_ref().map(|right| &right.span)));
                let spans = (&limit.span, &limit.left.span);
                Some(self.symbol(figure, Some(detail), lsp::SymbolKind::Constant, spans, Vec::new()))
            }
            _ => None,
        };
        body.statements.iter().filter_map(statement).collect()
    }

    fn assign(&self, assign: &Assign, kind: lsp::SymbolKind) -> Option<lsp::DocumentSymbol> {
        let value = self.value(assign.value.as_ref().map(|value| &value.span));
        (!assign.name.text.is_empty())
            .then(|| self.symbol(&assign.name.text, Some(value), kind, (&assign.span, &assign.name.span), Vec::new()))
    }

    /// A plan of YAML or JSON.
    fn written(&self, written: &plan::Written) -> Option<lsp::DocumentSymbol> {
        let mut children: Vec<_> =
            written.spans.iter().filter(|(path, _)| plan::Plan::setting(path).is_some()).collect();
        children.sort_by_key(|(_, place)| place.statement.start);
        let child = |(path, place): (&str, &Place)| {
            let value = self.value(Some(&place.value));
            self.symbol(path, Some(value), lsp::SymbolKind::Property, (&place.statement, &place.key), Vec::new())
        };
        let place = written.spans.get("plan")?;
        let key = place.statement.start..place.statement.start;
        let children = match self.open.document.foreign {
            // which has keys of its own
            Some(_) => {
                foreign::written(&self.open.document).iter().map(|(key, place)| child((key.as_str(), place))).collect()
            }
            None => children.into_iter().map(child).collect(),
        };
        Some(self.symbol(&written.name, None, lsp::SymbolKind::Class, (&place.statement, &key), children))
    }

    fn value(&self, span: Option<&Range<usize>>) -> String {
        let text = span.and_then(|span| self.open.text().get(span.clone())).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn symbol(
        &self,
        name: &str,
        detail: Option<String>,
        kind: lsp::SymbolKind,
        (all, key): (&Range<usize>, &Range<usize>),
        children: Vec<lsp::DocumentSymbol>,
    ) -> lsp::DocumentSymbol {
        // An outline's names may not be empty, and a key lies in what it names.
        let name = if name.trim().is_empty() { "?" } else { name };
        let all = all.start.min(key.start)..all.end.max(key.end);
        #[allow(deprecated, reason = "the structure has the field")]
        lsp::DocumentSymbol {
            name: name.to_owned(),
            detail: detail.filter(|detail| !detail.is_empty()),
            kind,
            tags: None,
            deprecated: None,
            range: self.snapshot.range(self.open, all),
            selection_range: self.snapshot.range(self.open, key.clone()),
            children: (!children.is_empty()).then_some(children),
        }
    }
}
