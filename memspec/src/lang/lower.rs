//! From the tree to typed plans: names resolved, arithmetic done, everything checked against the table.

use std::collections::HashMap;
use std::ops::Range;

use super::evaluate::{Scope, evaluate};
use super::lexer::TokenKind;
use super::tree::{self, Assign, Body, Expr, ExprKind, Statement, Tree};
use crate::plan::{Allow, Block, Comparison, Document, Entry, Item, Plan, Problem, RawBlock, Source, Value, check};

/// The only edition there is.
const EDITION: &str = "1";

/// The document of a tree.
pub(super) fn lower(source: Source, tree: Tree) -> Document {
    let comments = tree.tokens.iter().filter(|token| matches!(token.kind, TokenKind::Comment | TokenKind::Doc));
    let allows = Allow::collect(&source.text, comments.map(|token| token.span.clone()));
    let mut document = Document { problems: tree.errors.clone(), allows, ..Document::default() };
    let mut scope = Scope::new(&source.text);
    let mut names: HashMap<String, Range<usize>> = HashMap::new();
    for (n, item) in tree.items.iter().enumerate() {
        match item {
            tree::Item::Edition { number, span } => edition(n, number.as_ref(), span, &mut document.problems),
            tree::Item::Import { span } => document.problems.push(not_supported("import", span.clone())),
            tree::Item::Let(assign) => scope.define(assign),
            tree::Item::Plan(plan) if plan.keyword.text == "profile" => {
                document.problems.push(not_supported("profile", plan.keyword.span.clone()));
            }
            tree::Item::Plan(plan) => {
                if let Some(name) = &plan.name
                    && let Some(first) = names.insert(name.text.clone(), name.span.clone())
                {
                    let problem = Problem::new(
                        "duplicate-plan",
                        name.span.clone(),
                        format!("two plans are called `{}`", name.text),
                    );
                    document.problems.push(problem.label("again here").related(first, "first here"));
                }
                let raw = plan_block(plan, &mut scope);
                // of a plan without a name that is already said
                let whole = plan.name.is_some() && plan.body.closed && !has_errors(&plan.body);
                document.plans.push(check(&raw, whole, &source.text, &mut document.problems));
            }
            tree::Item::Misplaced(_) | tree::Item::Error(_) => {}
        }
    }
    document.problems.append(&mut scope.problems);
    document.problems.sort_by_key(|problem| problem.span.start);
    document.source = source;
    document
}

fn has_errors(body: &Body) -> bool {
    body.statements.iter().any(|statement| matches!(statement, Statement::Error(_)))
}

fn edition(n: usize, number: Option<&tree::Name>, span: &Range<usize>, problems: &mut Vec<Problem>) {
    if n > 0 {
        problems.push(Problem::new("edition", span.clone(), "the edition stands on the first line").label("not first"));
    } else if let Some(number) = number
        && number.text != EDITION
    {
        let problem = Problem::new(
            "edition",
            number.span.clone(),
            format!("edition {} is not known to this version", number.text),
        );
        problems.push(problem.label("unknown edition").help("the only edition is 1").fix(number.span.clone(), EDITION));
    }
}

fn not_supported(what: &str, span: Range<usize>) -> Problem {
    Problem::new("not-supported", span, format!("`{what}` is not supported in this version")).label("not supported")
}

fn plan_block(plan: &tree::Plan, scope: &mut Scope) -> RawBlock {
    if let Some(first) = plan.extends.first() {
        scope.problems.push(not_supported("extends", first.span.clone()));
    }
    scope.enter();
    let entries = entries(&plan.body, Some(Plan::SPEC), scope);
    scope.leave();
    // without a name the mistake is reported, and the plan goes by an empty one
    let head = plan.name.as_ref().map(|name| (name.text.clone(), name.span.clone()));
    RawBlock {
        name: "plan".to_owned(),
        key: plan.keyword.span.clone(),
        head,
        entries,
        body: plan.body.span.clone(),
        statement: plan.span.clone(),
    }
}

/// A body's statements with their values computed. `spec`: the block it is of, where that is known.
fn entries(body: &Body, spec: Option<&'static Block>, scope: &mut Scope) -> Vec<Entry> {
    let mut entries = Vec::new();
    scope.enter_block();
    for statement in &body.statements {
        match statement {
            Statement::Let(assign) => scope.define(assign),
            Statement::Assign(assign) => {
                let setting = spec.and_then(|spec| spec.setting(&assign.name.text));
                let item = match &assign.value {
                    Some(value) if setting.is_some() => evaluate(value, setting.map(|setting| setting.kind), scope),
                    // of an unknown setting no value is right or wrong
                    value => Item {
                        value: Value::Hole,
                        span: value.as_ref().map_or(end(assign), |value| value.span.clone()),
                    },
                };
                scope.set(&assign.name.text, &item);
                entries.push(setting_entry(&assign.name, item, assign.span.clone()));
            }
            Statement::Block(block) => {
                let inner = spec.and_then(|spec| spec.block(&block.name.text));
                entries.push(Entry::Block(RawBlock {
                    name: block.name.text.clone(),
                    key: block.name.span.clone(),
                    head: block.kind.as_ref().map(|kind| (kind.text.clone(), kind.span.clone())),
                    entries: if inner.is_some() { self::entries(&block.body, inner, scope) } else { Vec::new() },
                    body: block.body.span.clone(),
                    statement: block.span.clone(),
                }));
            }
            Statement::Limit(limit) => entries.extend(limit_entry(limit, spec, scope)),
            Statement::Assert { span } => {
                scope.problems.push(not_supported("assert", span.start..span.start + "assert".len()))
            }
            Statement::Error(_) => {}
        }
    }
    scope.leave_block();
    entries
}

fn end(assign: &Assign) -> Range<usize> {
    assign.span.end..assign.span.end
}

fn setting_entry(name: &tree::Name, item: Item, statement: Range<usize>) -> Entry {
    Entry::Setting { name: name.text.clone(), key: name.span.clone(), item, statement }
}

/// `figure <= bound`, or `bound >= figure`.
fn limit_entry(limit: &tree::Limit, spec: Option<&'static Block>, scope: &mut Scope) -> Option<Entry> {
    let right = limit.right.as_ref()?;
    let known = |name: &str| spec.is_some_and(|spec| spec.setting(name).is_some());
    let figure = |side: &Expr| match &side.kind {
        ExprKind::Word(word) => Some(tree::Name { text: word.clone(), span: side.span.clone() }),
        _ => None,
    };
    let flipped =
        figure(right).filter(|name| known(&name.text) && !figure(&limit.left).is_some_and(|left| known(&left.text)));
    let (name, bound) = match (&flipped, figure(&limit.left)) {
        (Some(name), _) => (name.clone(), &limit.left),
        (None, Some(name)) => (name, right),
        (None, None) => {
            let problem =
                Problem::new("not-a-limit", limit.span.clone(), "a limit has the name of a figure on one side");
            scope.problems.push(problem.label("no figure").help("write it as `device_memory <= 14.5GiB`"));
            return None;
        }
    };
    let Some(comparison) = Comparison::from_sign(&limit.sign.text) else {
        let in_budget = spec.is_some_and(|spec| spec.limits);
        let sign = if in_budget { "<=" } else { "=" };
        let message =
            if in_budget { "a limit compares with `<=`, `<`, `>=` or `>`" } else { "a setting is written with `=`" };
        let problem = Problem::new("not-a-limit", limit.sign.span.clone(), message).label(format!("not `{sign}`"));
        scope.problems.push(problem.fix(limit.sign.span.clone(), sign));
        return None;
    };
    let comparison = if flipped.is_some() { comparison.flipped() } else { comparison };
    let setting = spec.and_then(|spec| spec.setting(&name.text));
    let item = match setting {
        Some(setting) => evaluate(bound, Some(setting.kind), scope),
        None => Item { value: Value::Hole, span: bound.span.clone() },
    };
    let span = item.span.clone();
    let value = if item.value == Value::Hole { Value::Hole } else { Value::Limit(comparison, Box::new(item)) };
    Some(setting_entry(&name, Item { value, span }, limit.span.clone()))
}
