//! Names and arithmetic: from an expression to a value. Units are checked: tokens and bytes do not add.
//!
//! A name of another setting stays an expression, as only the whole plan, with what it inherits, knows its value.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use super::project::Exports;
use super::tree::{Assign, Expr, ExprKind, Name};
use crate::plan::{
    Block, Expression, FIGURES, Function, Item, Kind, Operator, Plan, Problem, Value, call, is_path, nearest, negative,
    not, operate, symbols, unit,
};

/// The names that an expression may use, and the problems found in expressions.
pub(super) struct Scope<'a> {
    source: &'a str,
    lets: Vec<HashMap<String, Item>>,
    /// The files that were imported under a name.
    files: HashMap<String, Rc<Exports>>,
    /// The block whose settings go by their bare names.
    block: Option<&'static Block>,
    /// A file whose names belong here could not be read whole, so that a name that is not here may be in it.
    torn: bool,
    /// It is a condition, which knows the estimated figures.
    condition: bool,
    /// Every word that some setting takes: no `let` may be called so.
    symbols: HashSet<&'static str>,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let symbols = symbols().map(|symbol| symbol.name).chain(["true", "false", "fit", "sweep"]).collect();
        Scope {
            source,
            lets: vec![HashMap::new()],
            files: HashMap::new(),
            block: None,
            torn: false,
            condition: false,
            symbols,
            problems: Vec::new(),
        }
    }

    /// Names from here on go with [`Self::leave`].
    pub(super) fn enter(&mut self) {
        self.lets.push(HashMap::new());
    }

    pub(super) fn leave(&mut self) {
        self.lets.pop();
    }

    /// The settings of that block go by their bare names until the block before it, which comes back, is set again.
    pub(super) fn within(&mut self, block: Option<&'static Block>) -> Option<&'static Block> {
        std::mem::replace(&mut self.block, block)
    }

    /// The values of another file, under a name or, without one, beside those of this file.
    pub(super) fn import(&mut self, exports: Rc<Exports>, alias: Option<&Name>, at: &Range<usize>) {
        match alias {
            Some(alias) if self.files.contains_key(&alias.text) => {
                let message = format!("two imports are called `{}`", alias.text);
                self.problems.push(Problem::new("duplicate-setting", alias.span.clone(), message).label("again here"));
            }
            Some(alias) => _ = self.files.insert(alias.text.clone(), exports),
            None => {
                self.torn |= exports.mistakes.is_some();
                for (name, value) in &exports.lets {
                    let item = Item { value: value.clone(), span: at.clone() }.moved(at);
                    self.lets[0].entry(name.clone()).or_insert(item);
                }
            }
        }
    }

    /// The file that was imported under that name.
    pub(super) fn file(&self, alias: &str) -> Option<&Rc<Exports>> {
        self.files.get(alias)
    }

    /// The values of the file, for those who import it.
    pub(super) fn exported(&self) -> HashMap<String, Value> {
        self.lets[0].iter().map(|(name, item)| (name.clone(), item.value.clone())).collect()
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
            self.problems.push(problem.help("write `fit` or `sweep` at the setting; what is computed from it follows"));
            item.value = Value::Hole;
        }
        if let Some(lets) = self.lets.last_mut() {
            if let Some(first) = lets.get(text) {
                let problem = Problem::new("duplicate-setting", span.clone(), format!("`{text}` is defined twice"));
                let first = first.span.clone();
                let problem = problem.label("again here").related(first, "first here");
                self.problems.push(problem.help("give one of them another name"));
            } else {
                lets.insert(text.clone(), item);
            }
        }
    }

    /// A value or condition that stands outside of any file.
    pub(super) fn expression(&mut self, expr: &Expr) -> Option<Expression> {
        self.condition = true;
        match evaluate(expr, None, self).value {
            Value::Computed(expression) => Some(expression),
            Value::Quantity(quantity) => Some(Expression::Quantity(quantity)),
            Value::Bool(value) => Some(Expression::Bool(value)),
            Value::Symbol(word) | Value::Text(word) | Value::Word(word) => Some(Expression::Word(word)),
            _ => None,
        }
    }

    /// The condition of an assert; nothing where it is none, which is said.
    pub(super) fn condition(&mut self, expr: &Expr) -> Option<Expression> {
        self.condition = true;
        let item = evaluate(expr, None, self);
        self.condition = false;
        match item.value {
            Value::Bool(value) => Some(Expression::Bool(value)),
            Value::Computed(that) if Expression::is_condition(&that) => Some(that),
            Value::Hole => None,
            _ => {
                let written = self.source.get(expr.span.clone()).unwrap_or_default();
                let message = format!("an assert takes a condition, got {written}");
                let problem = Problem::new("wrong-type", expr.span.clone(), message).label("not a condition");
                self.problems.push(problem.help("compare two values, as in `device_memory <= 14.5GiB`"));
                None
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
        ExprKind::Unary(operator, operand) => prefixed(operator, operand, scope),
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

/// A word is a symbol of its setting, a `let`, or the name of a setting; where names are taken, it is one.
fn named(word: &str, span: &Range<usize>, kind: Option<Kind>, scope: &mut Scope) -> Value {
    let symbols = kind.map(|kind| kind.symbols()).unwrap_or_default();
    let setting = |path: String| Value::Computed(Expression::Setting(path));
    if word == "true" || word == "false" {
        return Value::Bool(word == "true");
    }
    if symbols.iter().any(|symbol| symbol.name == word) {
        return Value::Symbol(word.to_owned());
    }
    if scope.condition && FIGURES.iter().any(|figure| figure.name == word) {
        return setting(word.to_owned());
    }
    if let Some(item) = scope.lookup(word) {
        return item.value.clone();
    }
    if let Some((alias, name)) = word.split_once('.') {
        if let Some(exports) = scope.file(alias) {
            return match exports.lets.get(name) {
                Some(value) => Item { value: value.clone(), span: span.clone() }.moved(span).value,
                // it may only be unread
                None if exports.mistakes.is_some() => Value::Hole,
                None => {
                    let message = format!("`{}` has no `let {name}`", exports.name());
                    let problem = Problem::new("unknown-name", span.clone(), message).label("unknown name");
                    let meant = nearest(name, exports.lets.keys().map(String::as_str)).map(str::to_owned);
                    scope.problem(match meant {
                        Some(meant) => {
                            let there = span.end - name.len()..span.end;
                            problem.help(format!("did you mean `{alias}.{meant}`?")).fix(there, meant)
                        }
                        None => problem,
                    })
                }
            };
        }
        if is_path(word) {
            return setting(word.to_owned());
        }
    }
    match kind {
        // the setting knows its words, and says which
        Some(kind) if !symbols.is_empty() || kind.takes_text() || kind.takes_names() || kind == Kind::Bool => {
            Value::Symbol(word.to_owned())
        }
        None if scope.symbols.contains(word) => Value::Symbol(word.to_owned()),
        _ => match scope.block {
            Some(block) if block.setting(word).is_some() => setting(path(block, word)),
            _ if scope.torn => Value::Hole,
            _ => unknown(word, span, kind, scope),
        },
    }
}

fn path(block: &Block, setting: &str) -> String {
    if block.name == Plan::SPEC.name { setting.to_owned() } else { format!("{}.{setting}", block.name) }
}

fn unknown(word: &str, span: &Range<usize>, kind: Option<Kind>, scope: &mut Scope) -> Value {
    let problem = Problem::new("unknown-name", span.clone(), format!("`{word}` is not defined")).label("unknown name");
    let lets = scope.lets.iter().flat_map(HashMap::keys).map(String::as_str);
    let settings = scope.block.into_iter().flat_map(|block| block.settings).map(|setting| setting.name);
    let figures = FIGURES.iter().map(|figure| figure.name).filter(|_| scope.condition);
    let meant = nearest(word, lets.chain(figures)).map(str::to_owned);
    let setting = nearest(word, settings);
    let home = Plan::blocks().iter().find(|block| block.setting(word).is_some());
    scope.problem(match (meant, home, kind) {
        (Some(meant), ..) => problem.help(format!("did you mean `{meant}`?")).fix(span.clone(), meant),
        (None, None, _) if setting.is_some() => {
            problem.help(format!("did you mean the setting `{}`?", setting.unwrap_or_default()))
        }
        (None, Some(home), _) => {
            let meant = path(home, word);
            problem.help(format!("the setting is `{meant}`")).fix(span.clone(), meant)
        }
        (None, None, Some(kind)) => problem.help(format!("write {kind}, or define it above: `let {word} = ..`")),
        (None, None, None) => problem.help(format!("define it above: `let {word} = ..`")),
    })
}

fn prefixed(operator: &Name, operand: &Expr, scope: &mut Scope) -> Value {
    let (value, found) = if operator.text == "-" {
        let value = number(operand, scope);
        let found = negative(&value);
        (value, found)
    } else {
        let value = evaluate(operand, None, scope).value;
        let found = not(&value);
        (value, found)
    };
    match found {
        Ok(found) => found,
        Err(_) if value == Value::Hole => Value::Hole,
        Err((code, message)) => {
            let span = operator.span.start..operand.span.end;
            scope.problem(Problem::new(code, span, message).label("here"))
        }
    }
}

/// The operand's value; what is no number is reported.
fn number(expr: &Expr, scope: &mut Scope) -> Value {
    match evaluate(expr, None, scope).value {
        value @ (Value::Quantity(_) | Value::Computed(_) | Value::Word(_) | Value::Hole) => value,
        _ => {
            let written = scope.source.get(expr.span.clone()).unwrap_or_default();
            let message = format!("arithmetic takes numbers and quantities, got {written}");
            scope.problem(Problem::new("wrong-type", expr.span.clone(), message).label("not a number"))
        }
    }
}

fn chained(first: &Expr, more: &[(Name, Expr)], scope: &mut Scope) -> Value {
    let computes = more.iter().all(|(operator, _)| matches!(operator.text.as_str(), "+" | "-" | "*" | "/"));
    let operand = |expr: &Expr, scope: &mut Scope| {
        if computes { number(expr, scope) } else { evaluate(expr, None, scope).value }
    };
    let mut total = operand(first, scope);
    for (operator, expr) in more {
        let right = operand(expr, scope);
        let Some(operator) = Operator::from_sign(&operator.text) else { return Value::Hole };
        total = match operate(&total, operator, &right) {
            Ok(value) => value,
            Err((code, message)) => {
                scope.problem(Problem::new(code, first.span.start..expr.span.end, message).label("here"))
            }
        };
    }
    total
}

fn called(name: &Name, arguments: &[Expr], scope: &mut Scope) -> Value {
    if name.text == "env" {
        return variable(name, arguments, scope);
    }
    let Some(function) = Function::ALL.into_iter().find(|function| function.name() == name.text) else {
        let problem = Problem::new("unknown-name", name.span.clone(), format!("there is no function `{}`", name.text))
            .label("unknown");
        let known = Function::ALL.iter().map(|function| function.name()).chain(["env"]);
        return scope.problem(match nearest(&name.text, known) {
            Some(meant) => problem.help(format!("did you mean `{meant}`?")).fix(name.span.clone(), meant),
            None => problem.help("there are `min`, `max`, `ceil` and `env`"),
        });
    };
    let values: Vec<Value> = arguments.iter().map(|argument| number(argument, scope)).collect();
    match call(function, &values) {
        Ok(value) => value,
        Err((code, message)) => scope.problem(Problem::new(code, name.span.clone(), message).label("here")),
    }
}

/// `env("NAME")`, `env("NAME", default)`: a variable of the environment, read as what its setting takes.
fn variable(name: &Name, arguments: &[Expr], scope: &mut Scope) -> Value {
    let (variable, default) = match arguments {
        [Expr { kind: ExprKind::Text(variable), .. }] => (variable, None),
        [Expr { kind: ExprKind::Text(variable), .. }, default] => (variable, Some(default)),
        _ => {
            let problem = Problem::new("wrong-type", name.span.clone(), "`env` takes the name of a variable in quotes");
            return scope.problem(problem.label("here").help("write `env(\"NAME\")`, or `env(\"NAME\", default)`"));
        }
    };
    // an equals sign or a zero byte is in no name, and asking for one may panic
    let value = if variable.contains(['=', '\0']) { None } else { std::env::var(variable).ok() };
    match (value, default) {
        (Some(value), _) => Value::Word(value),
        (None, Some(default)) => evaluate(default, None, scope).value,
        (None, None) => {
            let message = format!("the environment has no variable `{variable}`");
            let problem = Problem::new("unknown-name", arguments[0].span.clone(), message).label("not set");
            scope.problem(problem.help(format!("set it, or say what holds without it: `env(\"{variable}\", ..)`")))
        }
    }
}
