//! Values that follow from other settings, and the conditions of asserts.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::arithmetic::{self, Refused};
use super::value::Value;
use super::{Plan, Symbol};
use crate::quantity::{Bytes, Dimension, Quantity, Seconds};

/// Arithmetic on settings of the same plan, or a comparison of them. As text, and in YAML, settings go by their dotted paths:
/// `64 / train.micro_batch`, `device_memory <= 14.5GiB and train.precision == bf16`.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number, with or without a unit.
    Quantity(Quantity),
    /// `true` or `false`.
    Bool(bool),
    /// A word of some setting, or a text.
    Word(String),
    /// The value of a setting, by its dotted path; in an assert also a [`Figure`].
    Setting(String),
    /// `-a`
    Negative(Box<Expression>),
    /// `not a`
    Not(Box<Expression>),
    /// `a + b`, `a <= b`, `a and b`
    Operation(Box<Expression>, Operator, Box<Expression>),
    /// `max(a, b)`
    Call(Function, Vec<Expression>),
}

/// What stands between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `or`
    Or,
    /// `and`
    And,
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
    /// `==`
    Equal,
    /// `!=`
    Different,
    /// `+`
    Plus,
    /// `-`
    Minus,
    /// `*`
    Times,
    /// `/`
    Over,
}

/// A function of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The next whole number.
    Ceil,
}

/// A figure that is estimated for a plan, which an assert may compare with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// As written.
    pub name: &'static str,
    /// What it measures.
    pub dimension: Dimension,
    /// Its meaning.
    pub doc: &'static str,
}

/// The figure that is an amount and, compared with a percent, a part of the device's usable memory.
pub(crate) const HEADROOM: &str = "headroom";
/// What that part is looked up as. No plan can write it.
pub(crate) const HEADROOM_PART: &str = "headroom%";

/// Every figure that an assert knows.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "device_memory",
        dimension: Dimension::Bytes,
        doc: "what the process takes on one device at its peak, error bar included",
    },
    Figure {
        name: HEADROOM,
        dimension: Dimension::Bytes,
        doc: "what of the device's usable memory is free at the peak, error bar included; compared with a percent, that part of it",
    },
    Figure {
        name: "host_memory",
        dimension: Dimension::Bytes,
        doc: "what the process takes of the host's memory at its peak, error bar included; known on a CPU",
    },
    Figure { name: "disk", dimension: Dimension::Bytes, doc: "what the run writes; not estimated yet" },
    Figure { name: "wall_clock", dimension: Dimension::Time, doc: "how long the run is expected to take" },
    Figure { name: "cost", dimension: Dimension::Money, doc: "what the run is expected to cost" },
    Figure {
        name: "tokens_per_step",
        dimension: Dimension::Tokens,
        doc: "tokens of an optimizer step at most: micro batch x accumulate x context on all devices that share the batch",
    },
];

/// An expression has this many parts at most.
pub(crate) const MOST_PARTS: usize = 256;

impl Operator {
    const ALL: [(Operator, &'static str, u8); 12] = [
        (Operator::Or, "or", 1),
        (Operator::And, "and", 2),
        (Operator::AtMost, "<=", 4),
        (Operator::Below, "<", 4),
        (Operator::AtLeast, ">=", 4),
        (Operator::Above, ">", 4),
        (Operator::Equal, "==", 4),
        (Operator::Different, "!=", 4),
        (Operator::Plus, "+", 5),
        (Operator::Minus, "-", 5),
        (Operator::Times, "*", 6),
        (Operator::Over, "/", 6),
    ];

    /// As written.
    pub fn sign(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// Read from its sign.
    pub fn from_sign(sign: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, written, _)| *written == sign).map(|(operator, ..)| *operator)
    }

    /// How tightly it binds.
    fn binds(self) -> u8 {
        Self::ALL[self as usize].2
    }
}

impl Function {
    /// Every function.
    pub const ALL: [Function; 3] = [Function::Min, Function::Max, Function::Ceil];

    /// As written.
    pub fn name(self) -> &'static str {
        match self {
            Function::Min => "min",
            Function::Max => "max",
            Function::Ceil => "ceil",
        }
    }
}

impl Expression {
    /// The settings and figures that it is computed from, each as often as it stands there.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.visit(&mut |part| {
            if let Expression::Setting(name) = part {
                names.push(name.as_str());
            }
        });
        names
    }

    /// Whether it is true or false.
    #[cfg_attr(not(feature = "lang"), allow(dead_code, reason = "only `.mem` asserts are checked for it"))]
    pub(crate) fn is_condition(&self) -> bool {
        matches!(arithmetic::type_of(self), Ok(arithmetic::Type::Bool | arithmetic::Type::Any))
    }

    /// Of how many parts it is made.
    pub(crate) fn parts(&self) -> usize {
        let mut parts = 0;
        self.visit(&mut |_| parts += 1);
        parts
    }

    fn visit<'a>(&'a self, seen: &mut impl FnMut(&'a Expression)) {
        seen(self);
        match self {
            Expression::Quantity(_) | Expression::Bool(_) | Expression::Word(_) | Expression::Setting(_) => {}
            Expression::Negative(inner) | Expression::Not(inner) => inner.visit(seen),
            Expression::Operation(left, _, right) => {
                left.visit(seen);
                right.visit(seen);
            }
            Expression::Call(_, values) => values.iter().for_each(|value| value.visit(seen)),
        }
    }

    /// Its value, with those of the settings from `lookup`. What that does not know stays in it.
    pub(crate) fn evaluate(&self, lookup: &impl Fn(&str) -> Option<Value>) -> Result<Value, Refused> {
        match self {
            Expression::Quantity(quantity) => Ok(Value::Quantity(*quantity)),
            Expression::Bool(value) => Ok(Value::Bool(*value)),
            Expression::Word(word) => Ok(Value::Word(word.clone())),
            Expression::Setting(name) => Ok(lookup(name).unwrap_or_else(|| Value::Computed(self.clone()))),
            Expression::Negative(inner) => arithmetic::negative(&inner.evaluate(lookup)?),
            Expression::Not(inner) => arithmetic::not(&inner.evaluate(lookup)?),
            Expression::Operation(left, operator, right) => {
                let (known_left, known_right) = (left.evaluate(lookup)?, right.evaluate(lookup)?);
                let part = |side: &Expression, other: &Value, known: Value| match other {
                    Value::Quantity(Quantity { dimension: Dimension::Percent, .. }) if side.is_headroom() => {
                        lookup(HEADROOM_PART).unwrap_or(known)
                    }
                    _ => known,
                };
                let new_left = part(left, &known_right, known_left.clone());
                arithmetic::operate(&new_left, *operator, &part(right, &known_left, known_right))
            }
            Expression::Call(function, values) => {
                let values = values.iter().map(|value| value.evaluate(lookup)).collect::<Result<Vec<_>, _>>()?;
                arithmetic::call(*function, &values)
            }
        }
    }

    fn is_headroom(&self) -> bool {
        matches!(self, Expression::Setting(name) if name == HEADROOM)
    }

    /// Whether the headroom is compared with a percent in it.
    pub(crate) fn has_headroom_part(&self) -> bool {
        let mut found = false;
        let is_percent =
            |side: &Expression| matches!(arithmetic::type_of(side), Ok(arithmetic::Type::Quantity(Dimension::Percent)));
        self.visit(&mut |part| {
            if let Expression::Operation(left, _, right) = part {
                found |= left.is_headroom() && is_percent(right) || right.is_headroom() && is_percent(left);
            }
        });
        found
    }

    fn binds(&self) -> u8 {
        match self {
            Expression::Operation(_, operator, _) => operator.binds(),
            Expression::Not(_) => 3,
            Expression::Negative(_) => 7,
            // a negative number is read as the `-` of a number
            Expression::Quantity(quantity) if quantity.value < 0.0 => 7,
            _ => 8,
        }
    }
}

/// Every word that some setting takes.
pub(crate) fn symbols() -> impl Iterator<Item = Symbol> {
    let blocks = std::iter::once(&Plan::SPEC).chain(Plan::SPEC.blocks);
    blocks.flat_map(|block| {
        block.settings.iter().flat_map(|setting| setting.kind.symbols()).chain(block.kinds.iter().copied())
    })
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut fmt::Formatter<'_>, part: &Expression, least: u8| {
            if part.binds() < least { write!(f, "({part})") } else { write!(f, "{part}") }
        };
        match self {
            Expression::Quantity(quantity) => write_exact(f, *quantity),
            Expression::Bool(value) => write!(f, "{value}"),
            Expression::Word(word) if symbols().any(|symbol| symbol.name == word) => f.write_str(word),
            Expression::Word(word) => f.write_str(&serde_json::to_string(word).map_err(|_| fmt::Error)?),
            Expression::Setting(path) => f.write_str(path),
            Expression::Negative(operand) => {
                f.write_str("-")?;
                inner(f, operand, 8)
            }
            Expression::Not(operand) => {
                f.write_str("not ")?;
                inner(f, operand, 3)
            }
            Expression::Operation(left, operator, right) => {
                // comparisons do not follow each other; everything else is read from the left
                let left_least = operator.binds() + u8::from(operator.binds() == 4);
                inner(f, left, left_least)?;
                write!(f, " {} ", operator.sign())?;
                inner(f, right, operator.binds() + 1)
            }
            Expression::Call(function, values) => {
                write!(f, "{}(", function.name())?;
                for (n, value) in values.iter().enumerate() {
                    write!(f, "{}{value}", if n == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}

/// As a plan writes it, without rounding.
fn write_exact(f: &mut fmt::Formatter<'_>, quantity: Quantity) -> fmt::Result {
    let Quantity { value, dimension } = quantity;
    match dimension {
        Dimension::Number => write!(f, "{value}"),
        Dimension::Bytes if value >= 0.0 && value.fract() == 0.0 && value < 9e15 => {
            f.write_str(&Bytes(value as u64).exact())
        }
        // dividing by a power of two is exact
        Dimension::Bytes => write!(f, "{}KiB", value / 1024.0),
        Dimension::Tokens => write!(f, "{value}tok"),
        Dimension::Steps => write!(f, "{value}step"),
        Dimension::Epochs => write!(f, "{value}epoch"),
        Dimension::Time => f.write_str(&Seconds(value).exact()),
        Dimension::Percent => write!(f, "{value}%"),
        Dimension::Money => write!(f, "{value}usd"),
    }
}

#[cfg(feature = "lang")]
impl std::str::FromStr for Expression {
    type Err = Box<super::Problem>;

    /// Reads an expression whose settings go by their dotted paths. The problem's places are those of the text.
    fn from_str(text: &str) -> Result<Self, Box<super::Problem>> {
        crate::lang::read_expression(text)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Expression {
    #[cfg(feature = "lang")]
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|problem: Box<super::Problem>| de::Error::custom(&problem.message))
    }

    #[cfg(not(feature = "lang"))]
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(de::Error::custom("expressions are read with the feature `lang` of memspec"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Expression {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expression".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Arithmetic on settings, which go by their dotted paths: `64 / train.micro_batch`.",
            "type": "string", "minLength": 1,
        })
    }
}
