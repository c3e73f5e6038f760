//! Limits of a budget: `device_memory <= 14.5GiB`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::section::Held;
use super::spec::Kind;
use super::value::{Fault, Item, SettingType, Value, Worded, quantity};
use crate::quantity::{Bytes, Dimension, Money, Percent, QuantityError, Seconds};

/// Which side of its bound a figure must stay on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `<`
    Below,
    /// `>=`
    AtLeast,
    /// `>`
    Above,
}

/// A bound on an estimated figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit<T> {
    /// Which side of it is allowed.
    pub comparison: Comparison,
    /// The bound.
    pub value: T,
}

/// Memory that must stay free: a part of the device's, or an amount.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Headroom {
    /// A part of the device's usable memory.
    Percent(Percent),
    /// An amount.
    Bytes(Bytes),
}

impl Comparison {
    /// As written.
    pub const fn sign(self) -> &'static str {
        match self {
            Comparison::AtMost => "<=",
            Comparison::Below => "<",
            Comparison::AtLeast => ">=",
            Comparison::Above => ">",
        }
    }

    /// Read from its sign.
    pub fn from_sign(sign: &str) -> Option<Self> {
        [Comparison::AtMost, Comparison::Below, Comparison::AtLeast, Comparison::Above]
            .into_iter()
            .find(|c| c.sign() == sign)
    }

    /// The same limit with its sides exchanged.
    pub const fn flipped(self) -> Self {
        match self {
            Comparison::AtMost => Comparison::AtLeast,
            Comparison::Below => Comparison::Above,
            Comparison::AtLeast => Comparison::AtMost,
            Comparison::Above => Comparison::Below,
        }
    }
}

impl<T: PartialOrd> Limit<T> {
    /// Whether `figure` is allowed.
    pub fn allows(&self, figure: &T) -> bool {
        match self.comparison {
            Comparison::AtMost => *figure <= self.value,
            Comparison::Below => *figure < self.value,
            Comparison::AtLeast => *figure >= self.value,
            Comparison::Above => *figure > self.value,
        }
    }
}

impl<T> From<T> for Limit<T> {
    /// At most `value`.
    fn from(value: T) -> Self {
        Limit { comparison: Comparison::AtMost, value }
    }
}

impl<T: fmt::Display> fmt::Display for Limit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), self.value)
    }
}

impl<T: SettingType> Held for Limit<T> {
    const LIMITS: bool = true;

    /// Reads a limit; a value without a comparison is an upper bound where it comes from YAML or code.
    fn from_item(item: &Item) -> Result<Self, Vec<Fault>> {
        let one = |fault| vec![fault];
        match &item.value {
            Value::Limit(comparison, bound) => {
                Ok(Limit { comparison: *comparison, value: T::read(bound).map_err(one)? })
            }
            Value::Word(text) => {
                let text = text.trim_matches(' ');
                let length = text.bytes().take_while(|byte| matches!(byte, b'<' | b'>' | b'=' | b'!')).count();
                let comparison = match &text[..length] {
                    "" => Comparison::AtMost,
                    sign => Comparison::from_sign(sign).ok_or_else(|| one(Fault::Comparison(item.span.clone())))?,
                };
                let bound =
                    Item { value: Value::Word(text[length..].trim_matches(' ').to_owned()), span: item.span.clone() };
                Ok(Limit { comparison, value: T::read(&bound).map_err(one)? })
            }
            Value::Hole => Err(vec![Fault::Reported]),
            Value::Quantity(_) if item.span.is_empty() => Ok(T::read(item).map_err(one)?.into()),
            _ => Err(vec![Fault::Mismatch(item.span.clone())]),
        }
    }

    fn choose(&mut self, _: usize) {}
}

impl SettingType for Headroom {
    const KIND: Kind = Kind::OneOf(&[Kind::Percent, Kind::Bytes]);
    fn read(item: &Item) -> Result<Self, Fault> {
        match quantity(item)?.dimension {
            Dimension::Percent => Percent::read(item).map(Headroom::Percent),
            _ => Bytes::read(item).map(Headroom::Bytes),
        }
    }
}

/// What a limit may bound, without rounding, as text.
macro_rules! bounds {
    ($($Type:ty: |$this:ident| $exact:expr, $schema:literal, $units:literal;)+) => {$(
        impl Worded for $Type {
            fn exact(&self) -> String {
                let $this = self;
                $exact
            }
            #[cfg(feature = "schema")]
            const DESCRIPTION: &'static str = $schema;
            #[cfg(feature = "schema")]
            const PATTERN: &'static str = crate::quantity::pattern!("((<=|>=|<|>) *)?", $units);
        }
    )+};
}

bounds! {
    Bytes: |this| Bytes::exact(*this), "A bound on memory: `<= 14.5GiB`, or `14.5GiB` for the same.",
        "(KiB|MiB|GiB|TiB|KB|MB|GB|TB)";
    Seconds: |this| Seconds::exact(*this), "A bound on time: `<= 6h`, or `6h` for the same.",
        "(ms|s|min|h|d)";
    Money: |this| this.to_string(), "A bound on cost: `<= 12usd`, or `12usd` for the same.",
        "usd";
    Headroom: |this| match this { Headroom::Percent(p) => p.to_string(), Headroom::Bytes(b) => b.exact() },
        "Memory that stays free: `>= 5%` or `>= 1GiB`.",
        "(%|KiB|MiB|GiB|TiB|KB|MB|GB|TB)";
}

impl std::str::FromStr for Headroom {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        text.parse().map(Headroom::Percent).or_else(|_| text.parse().map(Headroom::Bytes))
    }
}

impl<T: Worded> Serialize for Limit<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{} {}", self.comparison.sign(), self.value.exact()))
    }
}

impl<'de, T: SettingType> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Limit::from_item(&Item { value: Value::Word(text.clone()), span: 0..0 })
            .map_err(|_| de::Error::custom(format!("a limit is a comparison and {}, got `{text}`", T::KIND)))
    }
}

#[cfg(feature = "schema")]
impl<T: Worded> schemars::JsonSchema for Limit<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Limit".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": T::DESCRIPTION, "pattern": T::PATTERN })
    }
}
