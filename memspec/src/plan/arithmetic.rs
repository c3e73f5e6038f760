//! Arithmetic and comparisons of values. Units are checked, also where a value is not known yet: tokens and bytes do not add.

use super::expression::{Expression, FIGURES, Function, HEADROOM, MOST_PARTS, Operator};
use super::value::Value;
use super::{Kind, Plan};
use crate::quantity::{Dimension, Quantity};

/// Why there is no such value: the code of the mistake, and a sentence.
pub(crate) type Refused = (&'static str, String);

/// What a value is, whether it is known or not.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Type {
    Quantity(Dimension),
    Bool,
    Word,
    /// A setting that takes values of several types.
    Any,
    /// The headroom: bytes, which can also be compared with a percent.
    Headroom,
}

impl Type {
    /// What it is in everything but a comparison.
    fn plain(self) -> Self {
        if self == Type::Headroom { Type::Quantity(Dimension::Bytes) } else { self }
    }
}

/// `left operator right`
pub(crate) fn operate(left: &Value, operator: Operator, right: &Value) -> Result<Value, Refused> {
    let (Some(l), Some(r)) = (of_value(left)?, of_value(right)?) else { return Ok(Value::Hole) };
    let found = combined(l, operator, r)?;
    let value = match (left, right) {
        (Value::Computed(_), _) | (_, Value::Computed(_)) => {
            let operation = |l, r| Expression::Operation(Box::new(l), operator, Box::new(r));
            return computed(operation(expression(left), expression(right)));
        }
        (Value::Bool(l), Value::Bool(r)) => match operator {
            Operator::And => *l && *r,
            Operator::Or => *l || *r,
            Operator::Equal => l == r,
            _ => l != r,
        },
        _ => match (quantity(left), quantity(right)) {
            (Some(l), Some(r)) => match found {
                Type::Quantity(dimension) => return number(l.value, operator, r.value, dimension),
                _ => compared(l.value, operator, r.value),
            },
            _ => (word(left) == word(right)) == (operator == Operator::Equal),
        },
    };
    Ok(Value::Bool(value))
}

/// `-value`
pub(crate) fn negative(value: &Value) -> Result<Value, Refused> {
    match of_value(value)?.map(Type::plain) {
        None => Ok(Value::Hole),
        Some(Type::Quantity(dimension)) => match quantity(value) {
            Some(known) => Ok(Value::Quantity(Quantity { value: -known.value, dimension })),
            None => computed(Expression::Negative(Box::new(expression(value)))),
        },
        Some(Type::Any) => computed(Expression::Negative(Box::new(expression(value)))),
        Some(other) => Err(("wrong-type", format!("arithmetic takes numbers and quantities, got {}", named(other)))),
    }
}

/// `not value`
pub(crate) fn not(value: &Value) -> Result<Value, Refused> {
    match (of_value(value)?, value) {
        (None, _) => Ok(Value::Hole),
        (_, Value::Bool(value)) => Ok(Value::Bool(!value)),
        (Some(Type::Bool | Type::Any), value) => computed(Expression::Not(Box::new(expression(value)))),
        (Some(other), _) => Err(("wrong-type", format!("`not` takes a condition, got {}", named(other)))),
    }
}

/// `max(a, b)`
pub(crate) fn call(function: Function, values: &[Value]) -> Result<Value, Refused> {
    let name = function.name();
    let mut types = Vec::new();
    for value in values {
        match of_value(value)? {
            None => return Ok(Value::Hole),
            Some(Type::Bool | Type::Word) => {
                return Err(("wrong-type", format!("`{name}` takes numbers and quantities")));
            }
            Some(found) => types.push(found.plain()),
        }
    }
    match (function, values.len()) {
        (Function::Ceil, count) if count != 1 => {
            return Err(("wrong-type", format!("`ceil` takes one value, got {count}")));
        }
        (_, 0) => return Err(("wrong-type", format!("`{name}` takes at least one value"))),
        _ => {}
    }
    let mut dimension = None;
    for found in types {
        dimension = match (dimension, found) {
            (Some(before), Type::Quantity(now)) => Some(
                shared(before, now).ok_or_else(|| ("wrong-unit", format!("{before} and {now} cannot be compared")))?,
            ),
            (None, Type::Quantity(now)) => Some(now),
            (before, _) => before,
        };
    }
    let known: Option<Vec<f64>> = values.iter().map(|value| quantity(value).map(|known| known.value)).collect();
    let Some(known) = known else {
        return computed(Expression::Call(function, values.iter().map(expression).collect()));
    };
    let value = match function {
        Function::Ceil => known[0].ceil(),
        Function::Min => known.into_iter().fold(f64::INFINITY, f64::min),
        Function::Max => known.into_iter().fold(f64::NEG_INFINITY, f64::max),
    };
    Ok(Value::Quantity(Quantity { value, dimension: dimension.unwrap_or(Dimension::Number) }))
}

/// What an expression's value is.
pub(crate) fn type_of(expression: &Expression) -> Result<Type, Refused> {
    Ok(match expression {
        Expression::Quantity(quantity) => Type::Quantity(quantity.dimension),
        Expression::Bool(_) | Expression::Not(_) => Type::Bool,
        Expression::Word(_) => Type::Word,
        Expression::Setting(path) => match FIGURES.iter().find(|figure| figure.name == path) {
            Some(figure) if figure.name == HEADROOM => Type::Headroom,
            Some(figure) => Type::Quantity(figure.dimension),
            None => Plan::setting(path).map_or(Type::Word, |setting| of_kind(setting.kind)),
        },
        Expression::Negative(inner) => type_of(inner)?.plain(),
        Expression::Operation(left, operator, right) => combined(type_of(left)?, *operator, type_of(right)?)?,
        Expression::Call(_, values) => values.first().map_or(Ok(Type::Any), type_of)?.plain(),
    })
}

/// The dimension that a setting of that kind has; a bare number in it counts as that.
pub(crate) fn dimension(kind: Kind) -> Option<Dimension> {
    Some(match kind {
        Kind::Integer | Kind::Number => Dimension::Number,
        Kind::Bytes => Dimension::Bytes,
        Kind::Tokens => Dimension::Tokens,
        Kind::Steps => Dimension::Steps,
        Kind::Duration => Dimension::Time,
        Kind::Money => Dimension::Money,
        Kind::Percent => Dimension::Percent,
        Kind::OneOf(kinds) => kinds.iter().find_map(|kind| dimension(*kind))?,
        _ => return None,
    })
}

fn of_kind(kind: Kind) -> Type {
    match kind {
        Kind::Symbol(_) | Kind::Text | Kind::Path | Kind::Name | Kind::Size => Type::Word,
        Kind::Bool => Type::Bool,
        Kind::OneOf(_) | Kind::List(_) => Type::Any,
        kind => dimension(kind).map_or(Type::Any, Type::Quantity),
    }
}

/// Nothing of what is already reported.
fn of_value(value: &Value) -> Result<Option<Type>, Refused> {
    Ok(Some(match value {
        Value::Quantity(quantity) => Type::Quantity(quantity.dimension),
        Value::Bool(_) => Type::Bool,
        Value::Symbol(_) | Value::Text(_) => Type::Word,
        // of YAML or of the environment: whatever it spells
        Value::Word(word) => match word.parse::<Quantity>() {
            Ok(quantity) => Type::Quantity(quantity.dimension),
            Err(_) => Type::Word,
        },
        Value::Computed(expression) => type_of(expression)?,
        Value::Hole => return Ok(None),
        Value::List(_) | Value::Fit(_) | Value::Sweep(_) | Value::Limit(..) => {
            return Err(("wrong-type", "one value is computed with, not several".to_owned()));
        }
    }))
}

fn combined(left: Type, operator: Operator, right: Type) -> Result<Type, Refused> {
    use Type::{Any, Bool, Headroom, Quantity, Word};
    let number = Dimension::Number;
    if let (Headroom, Quantity(Dimension::Percent)) | (Quantity(Dimension::Percent), Headroom) = (left, right)
        && compares(operator)
    {
        return Ok(Bool);
    }
    let (left, right) = (left.plain(), right.plain());
    match operator {
        Operator::And | Operator::Or => match [left, right].into_iter().find(|side| !matches!(side, Bool | Any)) {
            None => Ok(Bool),
            Some(other) => Err(("wrong-type", format!("`{}` joins conditions, got {}", operator.sign(), named(other)))),
        },
        Operator::Equal | Operator::Different if matches!((left, right), (Bool, Bool) | (Word, Word)) => Ok(Bool),
        operator if compares(operator) => match (left, right) {
            (Quantity(l), Quantity(r)) if shared(l, r).is_some() => Ok(Bool),
            (Quantity(l), Quantity(r)) => Err(("wrong-unit", format!("{l} and {r} cannot be compared"))),
            (Any, _) | (_, Any) => Ok(Bool),
            _ => Err(("wrong-type", format!("{} and {} cannot be compared", named(left), named(right)))),
        },
        _ => {
            let (l, r) = match (left, right) {
                (Quantity(l), Quantity(r)) => (l, r),
                (Any, Quantity(_) | Any) | (Quantity(_), Any) => return Ok(Any),
                (Quantity(_) | Any, other) | (other, _) => {
                    return Err((
                        "wrong-type",
                        format!("arithmetic takes numbers and quantities, got {}", named(other)),
                    ));
                }
            };
            let dimension = match operator {
                Operator::Times if l == number || r == number => Some(if l == number { r } else { l }),
                Operator::Over if l == r => Some(number),
                Operator::Over if r == number => Some(l),
                Operator::Plus | Operator::Minus => shared(l, r),
                _ => None,
            };
            dimension.map(Quantity).ok_or_else(|| {
                (
                    "wrong-unit",
                    match operator {
                        Operator::Plus => format!("{l} and {r} cannot be added"),
                        Operator::Minus => format!("{r} cannot be taken from {l}"),
                        Operator::Times => format!("{l} cannot be multiplied by {r}"),
                        _ => format!("{l} cannot be divided by {r}"),
                    },
                )
            })
        }
    }
}

fn compares(operator: Operator) -> bool {
    use Operator::{Above, AtLeast, AtMost, Below, Different, Equal};
    matches!(operator, AtMost | Below | AtLeast | Above | Equal | Different)
}

/// The dimension of two quantities that are added or compared. Settings in tokens and steps take bare numbers, so these do.
fn shared(left: Dimension, right: Dimension) -> Option<Dimension> {
    let bare = |one, other| one == Dimension::Number && matches!(other, Dimension::Tokens | Dimension::Steps);
    if left == right || bare(right, left) { Some(left) } else { bare(left, right).then_some(right) }
}

fn number(left: f64, operator: Operator, right: f64, dimension: Dimension) -> Result<Value, Refused> {
    let value = match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        _ if right == 0.0 => return Err(("out-of-range", "this divides by zero".to_owned())),
        _ => left / right,
    };
    if value.is_finite() {
        Ok(Value::Quantity(Quantity { value, dimension }))
    } else {
        Err(("out-of-range", "this is too large".to_owned()))
    }
}

fn compared(left: f64, operator: Operator, right: f64) -> bool {
    match operator {
        Operator::AtMost => left <= right,
        Operator::Below => left < right,
        Operator::AtLeast => left >= right,
        Operator::Above => left > right,
        Operator::Equal => left == right,
        _ => left != right,
    }
}

fn named(found: Type) -> String {
    match found {
        Type::Quantity(dimension) => dimension.to_string(),
        Type::Headroom => Dimension::Bytes.to_string(),
        Type::Bool => "a condition".to_owned(),
        Type::Word => "a word".to_owned(),
        Type::Any => "a value".to_owned(),
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::Quantity(quantity) => Some(*quantity),
        Value::Word(word) => word.parse().ok(),
        _ => None,
    }
}

fn word(value: &Value) -> Option<&str> {
    match value {
        Value::Symbol(word) | Value::Text(word) | Value::Word(word) => Some(word),
        _ => None,
    }
}

/// A value as a part of an expression.
fn expression(value: &Value) -> Expression {
    match value {
        Value::Computed(expression) => expression.clone(),
        Value::Bool(value) => Expression::Bool(*value),
        value => match (quantity(value), word(value)) {
            (Some(quantity), _) => Expression::Quantity(quantity),
            (None, word) => Expression::Word(word.unwrap_or_default().to_owned()),
        },
    }
}

fn computed(expression: Expression) -> Result<Value, Refused> {
    if expression.parts() > MOST_PARTS {
        return Err(("out-of-range", format!("this has more than {MOST_PARTS} parts")));
    }
    Ok(Value::Computed(expression))
}
