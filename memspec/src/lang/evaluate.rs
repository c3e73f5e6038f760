//! Names and arithmetic: from an expression to a value. Units are checked: tokens and bytes do not add.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::tree::{Assign, Expr, ExprKind, Name};
use crate::plan::{Item, Kind, Plan, Problem, Value, nearest, unit};
use crate::quantity::{Dimension, Quantity};

/// The names that an expression may use, and the problems found in expressions.
pub(super) struct Scope<'a> {
    source: &'a str,
    lets: Vec<HashMap<String, Item>>,
    /// The settings so far of each block that is open.
    settings: Vec<HashMap<String, Item>>,
    /// Every word that some setting takes: no `let` may be called so.
    symbols: HashSet<&'static str>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let blocks = std::iter::once(&Plan::SPEC).chain(Plan::SPEC.blocks);
        let symbols = blocks
            .flat_map(|block| block.settings)
            .flat_map(|setting| setting.kind.symbols())
            .map(|symbol| symbol.name);
        let symbols = symbols.chain(["true", "false", "fit", "sweep"]).collect();
        Scope { source, lets: vec![HashMap::new()], settings: Vec::new(), symbols, problems: Vec::new() }
    }

    pub(super) fn enter(&mut self) {
        self.lets.push(HashMap::new());
    }

    pub(super) fn leave(&mut self) {
        self.lets.pop();
    }

    pub(super) fn enter_block(&mut self) {
        self.settings.push(HashMap::new());
    }

    pub(super) fn leave_block(&mut self) {
        self.settings.pop();
    }

    /// Notes a setting's value, for arithmetic below it.
    pub(super) fn set(&mut self, name: &str, item: &Item) {
        if let Some(settings) = self.settings.last_mut() {
            settings.insert(name.to_owned(), item.clone());
        }
    }

    /// Computes a `let`.
    pub(super) fn define(&mut self, assign: &Assign) {
        let Name { text, span } = &assign.name;
        if text.is_empty() {
            return;
        }
        if self.symbols.contains(text.as_str()) {
            let problem =
                Problem::new("let-shadows-symbol", span.clone(), format!("`{text}` is a word of the language"));
            self.problems.push(problem.label("taken").help("give the value another name"));
            return;
        }
        let mut item = match &assign.value {
            Some(value) => evaluate(value, None, self),
            None => Item { value: Value::Hole, span: span.clone() },
        };
        if matches!(item.value, Value::Fit(_) | Value::Sweep(_)) {
            let problem = Problem::new("not-supported", item.span.clone(), "a `let` is one value, not a choice")
                .label("a choice");
            self.problems.push(problem.help("write `fit` or `sweep` at the setting"));
            item.value = Value::Hole;
        }
        if let Some(lets) = self.lets.last_mut() {
            if let Some(first) = lets.get(text) {
                let problem = Problem::new("duplicate-setting", span.clone(), format!("`{text}` is defined twice"));
                let first = first.span.clone();
                self.problems.push(problem.label("again here").related(first, "first here"));
            } else {
                lets.insert(text.clone(), item);
            }
        }
    }

    fn lookup(&self, name: &str) -> Option<&Item> {
        self.lets.iter().rev().find_map(|lets| lets.get(name))
    }

    fn problem(&mut self, problem: Problem) -> Value {
        self.problems.push(problem);
        Value::Hole
    }
}

/// The value of an expression. `kind`: what its setting takes, where it stands in one; that tells symbols from names.
pub(super) fn evaluate(expr: &Expr, kind: Option<Kind>, scope: &mut Scope) -> Item {
    if let Some(name) = unquoted(expr, kind, scope.source) {
        let problem = Problem::new("unquoted-text", expr.span.clone(), format!("`{name}` is not a plain word"))
            .label("no quotes");
        let quoted = format!("\"{name}\"");
        let value = scope.problem(problem.help(format!("write {quoted}")).fix(expr.span.clone(), quoted));
        return Item { value, span: expr.span.clone() };
    }
    let mut each = |values: &[Expr], kind| values.iter().map(|value| evaluate(value, kind, scope)).collect();
    let value = match &expr.kind {
        ExprKind::List(values) => Value::List(each(values, kind.map(element))),
        ExprKind::Fit(values) => Value::Fit(each(values, kind)),
        ExprKind::Sweep(values) => Value::Sweep(each(values, kind)),
        ExprKind::Quantity(text) => match text.parse() {
            Ok(quantity) => Value::Quantity(quantity),
            Err(error) => scope.problem(unit(expr.span.clone(), &error)),
        },
        ExprKind::Text(text) => Value::Text(text.clone()),
        ExprKind::Word(word) => named(word, &expr.span, kind, scope),
        ExprKind::Unary(operator, operand) => negated(operator, operand, scope),
        ExprKind::Chain(first, more) => chained(first, more, scope),
        ExprKind::Call(name, arguments) => called(name, arguments, scope),
        ExprKind::Hole => Value::Hole,
    };
    Item { value, span: expr.span.clone() }
}

/// A name that needs quotes because it reads as something else: `a100-80`, `4090`, `org/model`.
fn unquoted<'a>(expr: &Expr, kind: Option<Kind>, source: &'a str) -> Option<&'a str> {
    let kind = kind.filter(|kind| kind.takes_text() && !matches!(kind, Kind::OneOf(_)))?;
    let arithmetic = matches!(expr.kind, ExprKind::Chain(..));
    let number = matches!(expr.kind, ExprKind::Quantity(_)) && matches!(kind, Kind::Name | Kind::Size);
    let written = source.get(expr.span.clone())?;
    let name = written.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':'));
    ((arithmetic || number) && name).then_some(written)
}

/// What the elements of a list are, in a setting of that kind.
fn element(kind: Kind) -> Kind {
    match kind {
        Kind::List(kind) => *kind,
        Kind::OneOf(kinds) => {
            kinds.iter().find_map(|kind| if let Kind::List(kind) = kind { Some(**kind) } else { None }).unwrap_or(kind)
        }
        kind => kind,
    }
}

/// A word is a symbol of its setting, or a `let`; where names are taken, it is one.
fn named(word: &str, span: &Range<usize>, kind: Option<Kind>, scope: &mut Scope) -> Value {
    let symbols = kind.map(|kind| kind.symbols()).unwrap_or_default();
    if word == "true" || word == "false" {
        return Value::Bool(word == "true");
    }
    if symbols.iter().any(|symbol| symbol.name == word) {
        return Value::Symbol(word.to_owned());
    }
    if let Some(item) = scope.lookup(word) {
        return item.value.clone();
    }
    match kind {
        // the setting knows its words, and says which
        Some(kind) if !symbols.is_empty() || kind.takes_text() || kind.takes_names() || kind == Kind::Bool => {
            Value::Symbol(word.to_owned())
        }
        None if scope.symbols.contains(word) => Value::Symbol(word.to_owned()),
        _ => sibling(word, span, kind, scope),
    }
}

/// A setting above this one in the same block.
fn sibling(word: &str, span: &Range<usize>, kind: Option<Kind>, scope: &mut Scope) -> Value {
    let settings = scope.settings.last();
    match settings.and_then(|settings| settings.get(word)).map(|item| &item.value) {
        Some(Value::Fit(_) | Value::Sweep(_)) => {
            let message = format!("`{word}` is a choice, and computing with a choice is not supported in this version");
            scope.problem(
                Problem::new("not-supported", span.clone(), message)
                    .label("a choice")
                    .help("write the value as a number"),
            )
        }
        Some(value) => value.clone(),
        None => {
            let lets = scope.lets.iter().flat_map(HashMap::keys).chain(settings.into_iter().flat_map(HashMap::keys));
            let meant = nearest(word, lets.map(String::as_str)).map(str::to_owned);
            let problem =
                Problem::new("unknown-name", span.clone(), format!("`{word}` is not defined")).label("unknown name");
            scope.problem(match (meant, kind) {
                (Some(meant), _) => problem.help(format!("did you mean `{meant}`?")).fix(span.clone(), meant),
                (None, Some(kind)) => problem.help(format!("write {kind}, or define it above: `let {word} = ..`")),
                (None, None) => problem.help(format!("define it above: `let {word} = ..`")),
            })
        }
    }
}

fn negated(operator: &Name, operand: &Expr, scope: &mut Scope) -> Value {
    match number(operand, scope) {
        Some(quantity) if operator.text == "-" => Value::Quantity(Quantity { value: -quantity.value, ..quantity }),
        Some(_) => scope.problem(
            Problem::new("wrong-type", operator.span.clone(), "`not` stands in an `assert` only").label("not a value"),
        ),
        None => Value::Hole,
    }
}

/// The operand's quantity; what is not one is reported.
fn number(expr: &Expr, scope: &mut Scope) -> Option<Quantity> {
    match evaluate(expr, None, scope).value {
        Value::Quantity(quantity) => Some(quantity),
        Value::Hole => None,
        _ => {
            let written = scope.source.get(expr.span.clone()).unwrap_or_default();
            let message = format!("arithmetic takes numbers and quantities, got {written}");
            scope.problem(Problem::new("wrong-type", expr.span.clone(), message).label("not a number"));
            None
        }
    }
}

fn chained(first: &Expr, more: &[(Name, Expr)], scope: &mut Scope) -> Value {
    let mut total = number(first, scope);
    for (operator, operand) in more {
        let right = number(operand, scope);
        total = match (total, right) {
            (Some(left), Some(right)) => match operated(left, &operator.text, right) {
                Ok(quantity) => Some(quantity),
                Err((code, message)) => {
                    scope.problem(Problem::new(code, first.span.start..operand.span.end, message).label("here"));
                    None
                }
            },
            _ => None,
        };
    }
    total.map_or(Value::Hole, Value::Quantity)
}

/// `left operator right`, or why there is no such thing.
fn operated(left: Quantity, operator: &str, right: Quantity) -> Result<Quantity, (&'static str, String)> {
    let (l, r) = (left.dimension, right.dimension);
    let number = Dimension::Number;
    let (value, dimension) = match operator {
        "+" if l == r => (left.value + right.value, l),
        "-" if l == r => (left.value - right.value, l),
        "*" if l == number || r == number => (left.value * right.value, if l == number { r } else { l }),
        "/" if right.value == 0.0 => {
            return Err(("out-of-range", "this divides by zero".to_owned()));
        }
        "/" if l == r => (left.value / right.value, number),
        "/" if r == number => (left.value / right.value, l),
        "+" => return Err(("wrong-unit", format!("{l} and {r} cannot be added"))),
        "-" => return Err(("wrong-unit", format!("{r} cannot be taken from {l}"))),
        "*" => return Err(("wrong-unit", format!("{l} cannot be multiplied by {r}"))),
        "/" => return Err(("wrong-unit", format!("{l} cannot be divided by {r}"))),
        sign => {
            return Err(("wrong-type", format!("a comparison (`{sign}`) is not a value")));
        }
    };
    if value.is_finite() {
        Ok(Quantity { value, dimension })
    } else {
        Err(("out-of-range", "this is too large".to_owned()))
    }
}

fn called(name: &Name, arguments: &[Expr], scope: &mut Scope) -> Value {
    let known = ["min", "max", "ceil"];
    if name.text == "env" {
        return scope.problem(
            Problem::new("not-supported", name.span.clone(), "`env` is not supported in this version")
                .label("not supported"),
        );
    }
    if !known.contains(&name.text.as_str()) {
        let problem = Problem::new("unknown-name", name.span.clone(), format!("there is no function `{}`", name.text))
            .label("unknown");
        return scope.problem(match nearest(&name.text, known) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(name.span.clone(), meant),
            None => problem.help("there are `min`, `max` and `ceil`"),
        });
    }
    let count = arguments.len();
    let Some(values) = arguments.iter().map(|argument| number(argument, scope)).collect::<Option<Vec<_>>>() else {
        return Value::Hole;
    };
    let wrong = |message: String| Problem::new("wrong-type", name.span.clone(), message).label("here");
    match (name.text.as_str(), values.as_slice()) {
        ("ceil", [one]) => Value::Quantity(Quantity { value: one.value.ceil(), ..*one }),
        ("ceil", _) => scope.problem(wrong(format!("`ceil` takes one value, got {count}"))),
        (_, []) => scope.problem(wrong(format!("`{}` takes at least one value", name.text))),
        (function, [first, rest @ ..]) => match rest.iter().find(|value| value.dimension != first.dimension) {
            Some(other) => {
                let message = format!("{} and {} cannot be compared", first.dimension, other.dimension);
                scope.problem(Problem { code: "wrong-unit", ..wrong(message) })
            }
            None => {
                let pick = if function == "min" { f64::min } else { f64::max };
                Value::Quantity(Quantity {
                    value: rest.iter().map(|value| value.value).fold(first.value, pick),
                    ..*first
                })
            }
        },
    }
}
