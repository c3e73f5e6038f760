//! Numbers that know their unit: `14.5GiB`, `2048tok`, `6h`, `5%`, `12usd`.
//!
//! Each newtype reads ([`FromStr`]) what a plan may write and displays what a person wants to read. Displaying rounds
//! (`13.2 GiB`); serializing does not.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of memory or disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

/// Tokens of text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u64);

/// Optimizer steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Steps(pub u64);

/// A duration in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Seconds(pub f64);

/// A part of a hundred: `3%` is `Percent(3.0)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// An amount of US dollars, in whole cents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// US cents.
    pub cents: u64,
}

/// What a quantity measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// A number without a unit.
    Number,
    /// Bytes: `KiB` to `TiB`, `KB` to `TB`.
    Bytes,
    /// Tokens: `tok`, `ktok`, `Mtok`.
    Tokens,
    /// Optimizer steps: `step`.
    Steps,
    /// Passes over the data: `epoch`.
    Epochs,
    /// Time: `ms`, `s`, `min`, `h`, `d`.
    Time,
    /// `%`.
    Percent,
    /// `usd`.
    Money,
}

/// A number with its dimension, in that dimension's base unit (bytes, tokens, steps, epochs, seconds, percent, dollars).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantity {
    /// How much, in the base unit.
    pub value: f64,
    /// Of what.
    pub dimension: Dimension,
}

/// A unit of the language: its name, what it measures and how many base units it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// As written after a number.
    pub name: &'static str,
    /// What it measures.
    pub dimension: Dimension,
    /// How many base units one of it is.
    pub factor: f64,
}

const fn unit(name: &'static str, dimension: Dimension, factor: f64) -> Unit {
    Unit { name, dimension, factor }
}

/// Every unit a plan may write. `B` is not one: `8B` must not mean eight bytes in a file about 8-billion models.
pub const UNITS: &[Unit] = &[
    unit("KiB", Dimension::Bytes, 1024.0),
    unit("MiB", Dimension::Bytes, 1_048_576.0),
    unit("GiB", Dimension::Bytes, 1_073_741_824.0),
    unit("TiB", Dimension::Bytes, 1_099_511_627_776.0),
    unit("KB", Dimension::Bytes, 1e3),
    unit("MB", Dimension::Bytes, 1e6),
    unit("GB", Dimension::Bytes, 1e9),
    unit("TB", Dimension::Bytes, 1e12),
    unit("tok", Dimension::Tokens, 1.0),
    unit("ktok", Dimension::Tokens, 1e3),
    unit("Mtok", Dimension::Tokens, 1e6),
    unit("step", Dimension::Steps, 1.0),
    unit("epoch", Dimension::Epochs, 1.0),
    unit("ms", Dimension::Time, 1e-3),
    unit("s", Dimension::Time, 1.0),
    unit("min", Dimension::Time, 60.0),
    unit("h", Dimension::Time, 3600.0),
    unit("d", Dimension::Time, 86400.0),
    unit("%", Dimension::Percent, 1.0),
    unit("usd", Dimension::Money, 1.0),
];

/// Why a text is not the quantity it should be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum QuantityError {
    /// It does not begin with a number.
    #[error("`{0}` is not a number")]
    NotANumber(String),
    /// `8B`: parameters or bytes?
    #[error(
        "`{0}`: `B` is not a unit, as it could mean bytes or billions; write bytes as `KiB`, `MiB` or `GiB`, a count as digits"
    )]
    BareB(String),
    /// The unit does not exist.
    #[error("`{unit}` is not a unit{}", nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default())]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// The unit closest to it, if any is close.
        nearest: Option<&'static str>,
    },
    /// A quantity of another dimension.
    #[error("`{text}` is {got}, not {expected}")]
    Wrong {
        /// What was written.
        text: String,
        /// Its dimension.
        got: Dimension,
        /// The dimension wanted.
        expected: Dimension,
    },
    /// Negative, not whole where it must be, or beyond what can be counted.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

impl Dimension {
    /// A quantity of this dimension as a plan writes it.
    pub const fn example(self) -> &'static str {
        match self {
            Dimension::Number => "0.5",
            Dimension::Bytes => "14.5GiB",
            Dimension::Tokens => "2048tok",
            Dimension::Steps => "500step",
            Dimension::Epochs => "3epoch",
            Dimension::Time => "6h",
            Dimension::Percent => "5%",
            Dimension::Money => "12usd",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dimension::Number => "a number",
            Dimension::Bytes => "bytes",
            Dimension::Tokens => "tokens",
            Dimension::Steps => "steps",
            Dimension::Epochs => "epochs",
            Dimension::Time => "a duration",
            Dimension::Percent => "a percent",
            Dimension::Money => "an amount of money",
        })
    }
}

impl Quantity {
    /// A number without a unit.
    pub const fn number(value: f64) -> Self {
        Quantity { value, dimension: Dimension::Number }
    }

    fn expect(text: &str, expected: Dimension, bare: bool) -> Result<f64, QuantityError> {
        let quantity: Quantity = text.parse()?;
        if quantity.dimension == expected || (bare && quantity.dimension == Dimension::Number) {
            Ok(quantity.value)
        } else {
            Err(QuantityError::Wrong { text: text.to_owned(), got: quantity.dimension, expected })
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    /// Reads a number and its unit; a space between them is accepted here, though not in a `.mem` file.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim_matches(' ');
        let length = number_length(text);
        let number = text[..length].replace('_', "");
        let value: f64 = number.parse().map_err(|_| QuantityError::NotANumber(text.to_owned()))?;
        if !value.is_finite() || (value == 0.0 && value.is_sign_negative()) {
            return Err(QuantityError::OutOfRange(text.to_owned()));
        }
        let name = text[length..].trim_start_matches(' ');
        if name.is_empty() {
            return Ok(Quantity::number(value));
        }
        if name == "B" {
            return Err(QuantityError::BareB(text.to_owned()));
        }
        match UNITS.iter().find(|unit| unit.name == name) {
            Some(unit) => Ok(Quantity { value: value * unit.factor, dimension: unit.dimension }),
            None => Err(QuantityError::UnknownUnit { unit: name.to_owned(), nearest: nearest_unit(name) }),
        }
    }
}

/// How many bytes of `text` are its leading number: `[-]digits[.digits][e[+-]digits]`, `_` between digits.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize| {
        while at < bytes.len()
            && (bytes[at].is_ascii_digit() || (bytes[at] == b'_' && at > 0 && bytes[at - 1].is_ascii_digit()))
        {
            at += 1;
        }
        at
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut end = digits(start);
    if end == start {
        return 0;
    }
    if bytes.get(end) == Some(&b'.') && digits(end + 1) > end + 1 {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}

fn nearest_unit(name: &str) -> Option<&'static str> {
    let exact = UNITS.iter().find(|unit| unit.name.eq_ignore_ascii_case(name)).map(|unit| unit.name);
    let plural = name.strip_suffix('s').and_then(|one| UNITS.iter().find(|unit| unit.name.eq_ignore_ascii_case(one)));
    let word = match name.to_ascii_lowercase().as_str() {
        "k" | "kb" => Some("KiB"),
        "m" | "mb" => Some("MiB"),
        "g" | "gb" | "gig" => Some("GiB"),
        "t" | "tb" => Some("TiB"),
        "token" | "tokens" => Some("tok"),
        "hour" | "hours" | "hr" | "hrs" => Some("h"),
        "minute" | "minutes" => Some("min"),
        "sec" | "second" | "seconds" => Some("s"),
        "day" | "days" => Some("d"),
        "$" | "dollar" | "dollars" => Some("usd"),
        "percent" => Some("%"),
        _ => None,
    };
    word.or(exact).or(plural.map(|unit| unit.name))
}

/// A non-negative whole count, rounding only what fractions of a unit leave behind.
fn whole(value: f64, text: &str) -> Result<u64, QuantityError> {
    let rounded = value.round();
    // beyond 2^63 no plan means it, and below this bound the conversion is exact
    if !(0.0..=9.2e18).contains(&rounded) {
        return Err(QuantityError::OutOfRange(text.to_owned()));
    }
    Ok(rounded as u64)
}

fn exactly_whole(value: f64, text: &str) -> Result<u64, QuantityError> {
    // `2.3ktok` is 2300 up to the rounding of its product, `2.5tok` is a mistake
    if (value - value.round()).abs() > 1e-6 {
        Err(QuantityError::OutOfRange(text.to_owned()))
    } else {
        whole(value, text)
    }
}

fn not_negative(value: f64, text: &str) -> Result<f64, QuantityError> {
    if value < 0.0 { Err(QuantityError::OutOfRange(text.to_owned())) } else { Ok(value) }
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::expect(text, Dimension::Bytes, false).and_then(|value| whole(value, text)).map(Bytes)
    }
}

impl FromStr for Tokens {
    type Err = QuantityError;
    /// A number without a unit is tokens.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::expect(text, Dimension::Tokens, true).and_then(|value| exactly_whole(value, text)).map(Tokens)
    }
}

impl FromStr for Steps {
    type Err = QuantityError;
    /// A number without a unit is steps.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::expect(text, Dimension::Steps, true).and_then(|value| exactly_whole(value, text)).map(Steps)
    }
}

impl FromStr for Seconds {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::expect(text, Dimension::Time, false).and_then(|value| not_negative(value, text)).map(Seconds)
    }
}

impl FromStr for Percent {
    type Err = QuantityError;
    /// `0` needs no unit; any other bare number is refused, as `0.05` could mean 5% or 0.05%.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text.trim() == "0" {
            return Ok(Percent(0.0));
        }
        Quantity::expect(text, Dimension::Percent, false).and_then(|value| not_negative(value, text)).map(Percent)
    }
}

impl FromStr for Money {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Quantity::expect(text, Dimension::Money, false)
            .and_then(|value| whole(value * 100.0, text))
            .map(|cents| Money { cents })
    }
}

impl Bytes {
    /// The number of GiB, for arithmetic and tables.
    pub fn gib(self) -> f64 {
        self.0 as f64 / 1_073_741_824.0
    }

    /// As a plan writes it, without rounding: `14.5GiB`.
    pub fn exact(self) -> String {
        // dividing by a power of two is exact, so every one of these reads back to the same count; take the shortest
        UNITS[..4]
            .iter()
            .rev()
            .map(|unit| format!("{}{}", self.0 as f64 / unit.factor, unit.name))
            .min_by_key(String::len)
            .unwrap_or_default()
    }
}

impl Seconds {
    /// As a plan writes it, without rounding: `90min`.
    pub fn exact(self) -> String {
        let whole = |factor: f64| self.0 > 0.0 && self.0 % factor == 0.0;
        match self.0 {
            s if whole(86400.0) => format!("{}d", s / 86400.0),
            s if whole(3600.0) => format!("{}h", s / 3600.0),
            s if whole(60.0) => format!("{}min", s / 60.0),
            s => format!("{s}s"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 as f64 {
            b if b >= 1_073_741_824.0 => write!(f, "{:.1} GiB", b / 1_073_741_824.0),
            b if b >= 1_048_576.0 => write!(f, "{:.1} MiB", b / 1_048_576.0),
            b if b >= 1024.0 => write!(f, "{:.1} KiB", b / 1024.0),
            b => write!(f, "{b} bytes"),
        }
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}tok", self.0)
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}step", self.0)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            s if s >= 86400.0 => write!(f, "{:.1} d", s / 86400.0),
            s if s >= 3600.0 => write!(f, "{:.1} h", s / 3600.0),
            s if s >= 60.0 => write!(f, "{:.1} min", s / 60.0),
            s => write!(f, "{s:.1} s"),
        }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cents.is_multiple_of(100) {
            write!(f, "{}usd", self.cents / 100)
        } else {
            write!(f, "{}.{:02}usd", self.cents / 100, self.cents % 100)
        }
    }
}

impl From<u64> for Bytes {
    fn from(bytes: u64) -> Self {
        Bytes(bytes)
    }
}

impl From<u64> for Tokens {
    fn from(tokens: u64) -> Self {
        Tokens(tokens)
    }
}

impl From<u64> for Steps {
    fn from(steps: u64) -> Self {
        Steps(steps)
    }
}

/// A number or a text, as JSON and YAML give them.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u64),
    Number(f64),
    Text(String),
}

impl Written {
    fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Ok(match Written::deserialize(deserializer)? {
            Written::Count(count) => count.to_string(),
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        })
    }
}

/// The pattern of a text that is a number and a unit, with spaces around them; `before`: what may stand before the number.
#[cfg(feature = "schema")]
macro_rules! pattern {
    ($units:literal) => {
        $crate::quantity::pattern!("", $units)
    };
    ($before:literal, $units:literal) => {
        concat!(
            "^ *",
            $before,
            "[0-9]+(_[0-9]+)*_?(\\.[0-9]+(_[0-9]+)*_?)?([eE][+-]?[0-9]+(_[0-9]+)*_?)? *",
            $units,
            " *$"
        )
    };
}
#[cfg(feature = "schema")]
pub(crate) use pattern;

/// serde and JSON schema of a quantity: how it is serialized, and the schema of what it is read from.
macro_rules! exchanged {
    ($Quantity:ident, |$this:ident, $serializer:ident| $serialize:expr, $schema:tt) => {
        impl Serialize for $Quantity {
            fn serialize<S: Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                $serialize
            }
        }

        impl<'de> Deserialize<'de> for $Quantity {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Written::text(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $Quantity {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Quantity).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}

exchanged!(Tokens, |this, s| s.serialize_u64(this.0), {
    "description": "Tokens: a whole number, or text such as `2048tok` or `2ktok`.",
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern!("(tok|ktok|Mtok)?")}],
});
exchanged!(Steps, |this, s| s.serialize_u64(this.0), {
    "description": "Optimizer steps: a whole number, or text such as `500step`.",
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern!("(step)?")}],
});
exchanged!(Seconds, |this, s| s.serialize_str(&this.exact()), {
    "description": "A duration, such as `90min` or `6h`.",
    "type": "string", "pattern": pattern!("(ms|s|min|h|d)"),
});
exchanged!(Percent, |this, s| s.collect_str(this), {
    "description": "A percent, such as `5%`.",
    "anyOf": [
        {"type": "string", "pattern": pattern!("%")},
        {"type": "string", "pattern": "^ *0+(_0+)*_?(\\.0+(_0+)*_?)?([eE][+-]?[0-9]+(_[0-9]+)*_?)? *$"},
        {"const": 0},
    ],
});
exchanged!(Money, |this, s| s.collect_str(this), {
    "description": "An amount of US dollars, such as `12usd`.",
    "type": "string", "pattern": pattern!("usd"),
});

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    /// A whole number is bytes; a text carries its unit.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Count(count) => Ok(Bytes(count)),
            Written::Number(number) => Err(de::Error::custom(QuantityError::OutOfRange(number.to_string()))),
            Written::Text(text) => text.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Bytes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Bytes".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "Bytes: a whole number, or text with a unit such as `14.5GiB`.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": pattern!("(KiB|MiB|GiB|TiB|KB|MB|GB|TB)")}],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_what_a_plan_writes() {
        assert_eq!("14.5GiB".parse(), Ok(Bytes(15_569_256_448)));
        assert_eq!("13.2 GiB".parse::<Bytes>().map(|b| b.to_string()), Ok("13.2 GiB".to_owned()));
        assert_eq!("2048".parse(), Ok(Tokens(2048)));
        assert_eq!("2ktok".parse(), Ok(Tokens(2000)));
        assert_eq!("1_000step".parse(), Ok(Steps(1000)));
        assert_eq!("1.5h".parse(), Ok(Seconds(5400.0)));
        assert_eq!("3%".parse(), Ok(Percent(3.0)));
        assert_eq!("0.10usd".parse(), Ok(Money { cents: 10 }));
    }

    #[test]
    fn mistakes_name_what_was_written() {
        let message = |result: Result<Bytes, QuantityError>| result.map_err(|e| e.to_string());
        insta::assert_debug_snapshot!([message("8B".parse()), message("8gb".parse()), message("6h".parse()), message("12".parse()), message("x".parse()), message("-1GiB".parse())], @r#"
        [
            Err(
                "`8B`: `B` is not a unit, as it could mean bytes or billions; write bytes as `KiB`, `MiB` or `GiB`, a count as digits",
            ),
            Err(
                "`gb` is not a unit; did you mean `GiB`?",
            ),
            Err(
                "`6h` is a duration, not bytes",
            ),
            Err(
                "`12` is a number, not bytes",
            ),
            Err(
                "`x` is not a number",
            ),
            Err(
                "`-1GiB` is out of range",
            ),
        ]
        "#);
        assert!("2.5tok".parse::<Tokens>().is_err());
    }

    proptest::proptest! {
        #[test]
        fn exact_text_reads_back(bytes in 0u64..(1 << 53), seconds in 0.0f64..1e7, cents in 0u64..1_000_000_000) {
            assert_eq!(Bytes(bytes).exact().parse(), Ok(Bytes(bytes)));
            assert_eq!(Money { cents }.to_string().parse(), Ok(Money { cents }));
            let Seconds(back) = Seconds(seconds).exact().parse().unwrap();
            assert!((back - seconds).abs() <= seconds * 1e-12);
        }

        #[test]
        fn any_text_is_read_without_panic(text in "\\PC*") {
            let _ = text.parse::<Quantity>();
        }
    }
}
