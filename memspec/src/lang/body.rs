//! The body of a plan or profile as blocks and settings, their values computed as far as the file alone can tell.

use std::ops::Range;

use super::evaluate::{Scope, evaluate};
use super::tree::{self, Assign, Body, Expr, ExprKind, Statement};
use crate::plan::{Block, Comparison, Entry, Item, Plan, Problem, RawAssert, RawBlock, Value};

/// A plan's or profile's own block.
pub(super) fn plan_block(plan: &tree::Plan, scope: &mut Scope) -> RawBlock {
    scope.enter();
    let mut asserts = Vec::new();
    let entries = entries(&plan.body, Some(Plan::SPEC), &mut asserts, scope);
    scope.leave();
    // without a name the mistake is reported, and the plan goes by an empty one
    let head = plan.name.as_ref().map(|name| (name.text.clone(), name.span.clone()));
    RawBlock {
        name: "plan".to_owned(),
        key: plan.keyword.span.clone(),
        head,
        entries,
        asserts,
        body: plan.body.span.clone(),
        statement: plan.span.clone(),
    }
}

/// Nothing in its body was passed over.
pub(super) fn is_whole(plan: &tree::Plan) -> bool {
    plan.body.closed && !plan.body.statements.iter().any(|statement| matches!(statement, Statement::Error(_)))
}

/// A body's statements with their values computed. `spec`: the block it is of, where that is known.
fn entries(body: &Body, spec: Option<&'static Block>, asserts: &mut Vec<RawAssert>, scope: &mut Scope) -> Vec<Entry> {
    let mut entries = Vec::new();
    let outer = scope.within(spec);
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
                entries.push(setting_entry(&assign.name, item, assign.span.clone()));
            }
            Statement::Block(block) => {
                let inner = spec.and_then(|spec| spec.block(&block.name.text));
                let inside =
                    if inner.is_some() { self::entries(&block.body, inner, asserts, scope) } else { Vec::new() };
                entries.push(Entry::Block(RawBlock {
                    name: block.name.text.clone(),
                    key: block.name.span.clone(),
                    head: block.kind.as_ref().map(|kind| (kind.text.clone(), kind.span.clone())),
                    entries: inside,
                    asserts: Vec::new(),
                    body: block.body.span.clone(),
                    statement: block.span.clone(),
                }));
            }
            Statement::Limit(limit) => entries.extend(limit_entry(limit, spec, scope)),
            Statement::Assert(assert) => {
                let that = assert.condition.as_ref().and_then(|condition| scope.condition(condition));
                let otherwise = assert.otherwise.as_ref().map(|message| message.text.clone());
                asserts.extend(that.map(|that| RawAssert { that, otherwise, span: assert.span.clone() }));
            }
            Statement::Error(_) => {}
        }
    }
    scope.within(outer);
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
