//! Values as written, before a setting's type is known, and how each type reads them.
//!
//! Both the `.mem` lowering and the YAML reader make these, so both get the same checks and the same words.

use std::ops::Range;
use std::path::PathBuf;

use super::expression::Expression;
use super::limit::Comparison;
use super::section::Held;
use super::spec::{Kind, Symbol, UnknownSymbol};
use super::{
    AdapterKind, Attention, CachePrecision, Checkpointing, Choice, DataFormat, DeviceMap, EngineName, Float, ImageSize,
    LossKind, LossOn, Name, Offload, OptimizerKind, Padding, ParallelKind, Precision, QuantizeKind, SampleOrder,
    Schedule, Script, ServePrecision, Storage, Targets, Upcast, Warmup,
};
use crate::quantity::{Bytes, Dimension, Money, Percent, Quantity, QuantityError, Seconds, Steps, Tokens};

/// A value and where it is written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    pub(crate) value: Value,
    pub(crate) span: Range<usize>,
}

impl Item {
    /// The same value, all of it at that place.
    #[cfg_attr(not(feature = "lang"), allow(dead_code, reason = "only `.mem` has values from elsewhere"))]
    pub(crate) fn moved(self, to: &Range<usize>) -> Self {
        let all = |items: Vec<Item>| items.into_iter().map(|item| item.moved(to)).collect();
        let value = match self.value {
            Value::List(items) => Value::List(all(items)),
            Value::Fit(items) => Value::Fit(all(items)),
            Value::Sweep(items) => Value::Sweep(all(items)),
            Value::Limit(comparison, bound) => Value::Limit(comparison, Box::new(bound.moved(to))),
            value => value,
        };
        Item { value, span: to.clone() }
    }
}

impl Value {
    /// Whether they are the same, wherever they are written.
    #[cfg_attr(not(feature = "lang"), allow(dead_code, reason = "only `.mem` has several parents"))]
    pub(crate) fn same(&self, other: &Value) -> bool {
        let all = |some: &[Item], others: &[Item]| {
            some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.value.same(&other.value))
        };
        match (self, other) {
            (Value::List(some), Value::List(others))
            | (Value::Fit(some), Value::Fit(others))
            | (Value::Sweep(some), Value::Sweep(others)) => all(some, others),
            (Value::Limit(one, bound), Value::Limit(other, limit)) => one == other && bound.value.same(&limit.value),
            (one, other) => one == other,
        }
    }
}

/// A value as written.
#[derive(Clone, Debug, PartialEq)]
#[allow(dead_code, reason = "without `lang` and `yaml` only words are made")]
pub(crate) enum Value {
    Bool(bool),
    Quantity(Quantity),
    /// A bare word of `.mem`.
    Symbol(String),
    /// Text in quotes of `.mem`.
    Text(String),
    /// A text of YAML, which may be any of the above.
    Word(String),
    List(Vec<Item>),
    Fit(Vec<Item>),
    Sweep(Vec<Item>),
    Limit(Comparison, Box<Item>),
    /// It follows from settings that have several values, or that are not looked up yet.
    Computed(Expression),
    /// A mistake stands here that is already reported.
    Hole,
}

/// Why a setting cannot take a value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// Another type than it takes.
    Mismatch(Range<usize>),
    /// A list where one value is wanted.
    List(Range<usize>),
    /// A list of another length.
    Length(Range<usize>, usize),
    /// `fit []`
    Empty(Range<usize>),
    /// No such word.
    Symbol(Range<usize>, UnknownSymbol),
    /// A symbol in quotes.
    Quoted(Range<usize>, String),
    /// Text without quotes.
    Unquoted(Range<usize>, String),
    /// A text that should be a quantity.
    Quantity(Range<usize>, QuantityError),
    /// `==` or `!=` in a limit.
    Comparison(Range<usize>),
    /// Nothing to add.
    Reported,
}

/// A type that a setting can have.
pub(crate) trait SettingType: Sized {
    /// What it takes, for the table.
    const KIND: Kind;
    /// Reads one value.
    fn read(item: &Item) -> Result<Self, Fault>;
    /// The numbers in it that a least one bounds.
    fn numbers(&self) -> Vec<f64> {
        Vec::new()
    }
}

/// A type that a limit writes as text.
pub(crate) trait Worded: SettingType {
    /// As a plan writes it, without rounding.
    fn exact(&self) -> String;
    /// For the schema.
    #[cfg(feature = "schema")]
    const DESCRIPTION: &'static str;
    /// For the schema.
    #[cfg(feature = "schema")]
    const PATTERN: &'static str;
}

impl<T: SettingType> Held for Choice<T> {
    const LIMITS: bool = false;

    fn from_item(item: &Item) -> Result<Self, Vec<Fault>> {
        let (items, choice): (_, fn(Vec<T>) -> Self) = match &item.value {
            Value::Fit(items) => (items, Choice::Fit),
            Value::Sweep(items) => (items, Choice::Sweep),
            Value::List(_) if !T::KIND.takes_list() => {
                return Err(vec![Fault::List(item.span.clone())]);
            }
            Value::Computed(expression) => return Ok(Choice::Computed(expression.clone())),
            Value::Hole => return Err(vec![Fault::Reported]),
            _ => return T::read(item).map(Choice::One).map_err(|fault| vec![fault]),
        };
        if items.is_empty() {
            return Err(vec![Fault::Empty(item.span.clone())]);
        }
        let (values, faults): (Vec<_>, Vec<_>) = items.iter().map(T::read).partition(Result::is_ok);
        if faults.is_empty() {
            Ok(choice(values.into_iter().flatten().collect()))
        } else {
            Err(faults.into_iter().filter_map(Result::err).collect())
        }
    }

    fn below(&self, least: f64) -> Option<f64> {
        self.values().iter().flat_map(T::numbers).find(|number| *number < least)
    }

    fn choose(&mut self, number: usize) {
        if let Choice::Fit(values) | Choice::Sweep(values) = self
            && number < values.len()
        {
            *self = Choice::One(values.swap_remove(number));
        }
    }
}

/// The quantity an item is, or spells.
pub(crate) fn quantity(item: &Item) -> Result<Quantity, Fault> {
    match &item.value {
        Value::Quantity(quantity) => Ok(*quantity),
        Value::Word(text) => text.parse().map_err(|error| match error {
            QuantityError::NotANumber(_) => Fault::Mismatch(item.span.clone()),
            error => Fault::Quantity(item.span.clone(), error),
        }),
        Value::Hole => Err(Fault::Reported),
        _ => Err(Fault::Mismatch(item.span.clone())),
    }
}

/// A quantity of that dimension; `bare`: or a number.
fn measured(item: &Item, dimension: Dimension, bare: bool) -> Result<f64, Fault> {
    let got = quantity(item)?;
    if got.value.is_finite() && (got.dimension == dimension || (bare && got.dimension == Dimension::Number)) {
        Ok(got.value)
    } else {
        Err(Fault::Mismatch(item.span.clone()))
    }
}

/// A whole number from 0 to `most`; what computing left behind the point is rounded away.
fn whole(item: &Item, value: f64, most: f64) -> Result<u64, Fault> {
    let near = value.round();
    if (value - near).abs() > near.abs() * 1e-12 || near < 0.0 || near > most {
        Err(Fault::Mismatch(item.span.clone()))
    } else {
        Ok(near as u64)
    }
}

/// The largest count that an `f64` and JSON hold exactly, and no other count is rounded to.
pub(super) const COUNT: f64 = 9_007_199_254_740_991.0;

macro_rules! reads {
    ($($Type:ty: $kind:expr, |$item:ident| $read:expr $(, |$this:ident| $numbers:expr)?;)+) => {$(
        impl SettingType for $Type {
            const KIND: Kind = $kind;
            fn read($item: &Item) -> Result<Self, Fault> {
                $read
            }
            $(fn numbers(&self) -> Vec<f64> {
                let $this = self;
                $numbers.to_vec()
            })?
        }
    )+};
}

reads! {
    // only so that `Choice<()>` and `Limit<()>` can be named
    (): Kind::Bool, |_item| Ok(());
    u32: Kind::Integer, |item| Ok(whole(item, measured(item, Dimension::Number, true)?, f64::from(u32::MAX))? as u32), |this| [f64::from(*this)];
    u64: Kind::Integer, |item| whole(item, measured(item, Dimension::Number, true)?, COUNT);
    f64: Kind::Number, |item| measured(item, Dimension::Number, true), |this| [*this];
    Bytes: Kind::Bytes, |item| {
        let value = measured(item, Dimension::Bytes, false)?.round();
        whole(item, value, COUNT).map(Bytes)
    };
    Tokens: Kind::Tokens, |item| whole(item, measured(item, Dimension::Tokens, true)?, COUNT).map(Tokens), |this| [this.0 as f64];
    Steps: Kind::Steps, |item| whole(item, measured(item, Dimension::Steps, true)?, COUNT).map(Steps), |this| [this.0 as f64];
    Seconds: Kind::Duration, |item| match measured(item, Dimension::Time, false)? {
        value if value < 0.0 => Err(Fault::Mismatch(item.span.clone())),
        value => Ok(Seconds(value)),
    };
    Money: Kind::Money, |item| {
        let value = (measured(item, Dimension::Money, false)? * 100.0).round();
        whole(item, value, COUNT).map(|cents| Money { cents })
    };
    // 0 needs no unit; any other bare number is refused, as 0.05 could mean 5% or 0.05%
    Percent: Kind::Percent, |item| match quantity(item)? {
        Quantity { value: 0.0, dimension: Dimension::Number } => Ok(Percent(0.0)),
        Quantity { value, dimension: Dimension::Percent } if value >= 0.0 && value.is_finite() => Ok(Percent(value)),
        _ => Err(Fault::Mismatch(item.span.clone())),
    };
    bool: Kind::Bool, |item| match &item.value {
        Value::Bool(value) => Ok(*value),
        Value::Word(word) => word.parse().map_err(|_| Fault::Mismatch(item.span.clone())),
        _ => Err(Fault::Mismatch(item.span.clone())),
    };
    String: Kind::Text, |item| text(item);
    PathBuf: Kind::Path, |item| text(item).map(PathBuf::from);
    Name: Kind::Name, |item| name(item).map(Name);
    Vec<String>: Kind::List(&Kind::Name), |item| match &item.value {
        Value::List(items) => items.iter().map(name).collect(),
        _ => Err(Fault::Mismatch(item.span.clone())),
    };
    [f64; 2]: Kind::List(&Kind::Number), |item| match &item.value {
        Value::List(items) => match items.as_slice() {
            [first, second] => Ok([f64::read(first)?, f64::read(second)?]),
            _ => Err(Fault::Length(item.span.clone(), 2)),
        },
        _ => Err(Fault::Mismatch(item.span.clone())),
    }, |this| this;
    ImageSize: Kind::Size, |item| text(item)?.parse().map_err(|_| Fault::Mismatch(item.span.clone()));
    Checkpointing: Kind::OneOf(&[Kind::Symbol(Checkpointing::SYMBOLS), Kind::Integer]), |item| match quantity(item) {
        Ok(_) => u32::read(item).map(Checkpointing::Blocks),
        Err(_) => symbol(item, Checkpointing::SYMBOLS),
    };
    Warmup: Kind::OneOf(&[Kind::Percent, Kind::Steps]), |item| match quantity(item)?.dimension {
        Dimension::Percent => Percent::read(item).map(|percent| Warmup::Percent(percent.0)),
        _ => Steps::read(item).map(|steps| Warmup::Steps(steps.0)),
    };
    Targets: Kind::OneOf(&[Kind::Symbol(Targets::SYMBOLS), Kind::List(&Kind::Name)]), |item| match &item.value {
        Value::List(_) => Vec::read(item).map(Targets::Modules),
        _ => name(item).map(|name| Targets::from(name.as_str())),
    };
}

macro_rules! reads_symbols {
    ($($Enum:ident),+ $(,)?) => {$(
        impl SettingType for $Enum {
            const KIND: Kind = Kind::Symbol($Enum::SYMBOLS);
            fn read(item: &Item) -> Result<Self, Fault> {
                symbol(item, $Enum::SYMBOLS)
            }
        }
    )+};
}

reads_symbols!(
    AdapterKind,
    Attention,
    CachePrecision,
    DataFormat,
    DeviceMap,
    EngineName,
    Float,
    LossKind,
    LossOn,
    Offload,
    OptimizerKind,
    Padding,
    ParallelKind,
    Precision,
    QuantizeKind,
    SampleOrder,
    Schedule,
    Script,
    Upcast,
    ServePrecision,
    Storage,
);

/// One of a type's words.
fn symbol<T: std::str::FromStr<Err = UnknownSymbol>>(item: &Item, symbols: &'static [Symbol]) -> Result<T, Fault> {
    match &item.value {
        Value::Symbol(word) | Value::Word(word) => {
            word.parse().map_err(|unknown| Fault::Symbol(item.span.clone(), unknown))
        }
        Value::Text(word) if symbols.iter().any(|symbol| symbol.name == word) => {
            Err(Fault::Quoted(item.span.clone(), word.clone()))
        }
        Value::Text(word) => Err(Fault::Symbol(item.span.clone(), UnknownSymbol::new(word, symbols))),
        Value::Hole => Err(Fault::Reported),
        _ => Err(Fault::Mismatch(item.span.clone())),
    }
}

/// Text, which `.mem` wants in quotes.
fn text(item: &Item) -> Result<String, Fault> {
    match &item.value {
        Value::Text(text) | Value::Word(text) => Ok(text.clone()),
        Value::Symbol(word) => Err(Fault::Unquoted(item.span.clone(), word.clone())),
        Value::Hole => Err(Fault::Reported),
        _ => Err(Fault::Mismatch(item.span.clone())),
    }
}

/// A name, quoted or not.
fn name(item: &Item) -> Result<String, Fault> {
    match &item.value {
        Value::Symbol(word) => Ok(word.clone()),
        _ => text(item),
    }
}
