//! The types of settings that are neither a number nor one of a few words.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::spec::{Symbol, UnknownSymbol};
use crate::quantity::{Percent, Steps};

/// A name that is quoted in `.mem` only where it is not a plain word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Name(pub String);

/// Which activations are recomputed in the backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Checkpointing {
    /// None: everything is kept.
    None,
    /// Each block's: only its input is kept.
    Block,
    /// As many blocks' as the budget asks for.
    Auto,
    /// This many blocks'.
    Blocks(u32),
}

/// Which linears get an adapter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Targets {
    /// Every linear of the blocks.
    AllLinear,
    /// Those of attention.
    Attention,
    /// Those of the feed-forward part.
    Mlp,
    /// The query and value projections.
    QueryValue,
    /// Those with these names.
    Modules(Vec<String>),
}

/// How long the learning rate rises.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warmup {
    /// A part of all steps: 3.0 is 3%.
    Percent(f64),
    /// A count of steps.
    Steps(u64),
}

/// An image's size in pixels, written `"1344x896"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

/// A text is not a size such as `1344x896`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size in pixels such as `1344x896`")]
pub struct NotASize(String);

const fn symbol(name: &'static str, doc: &'static str) -> Symbol {
    Symbol { name, doc }
}

impl Checkpointing {
    /// Its words.
    pub const SYMBOLS: &'static [Symbol] = &[
        symbol("none", "everything is kept"),
        symbol("block", "only each block's input is kept"),
        symbol("auto", "as many blocks are recomputed as the budget asks for"),
    ];
}

impl Targets {
    /// Its words.
    pub const SYMBOLS: &'static [Symbol] = &[
        symbol("all_linear", "every linear of the blocks"),
        symbol("attention", "the linears of attention"),
        symbol("mlp", "the linears of the feed-forward part"),
        symbol("query_value", "the query and value projections"),
    ];
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Name(name.to_owned())
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Name(name)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Checkpointing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Checkpointing::None => f.write_str("none"),
            Checkpointing::Block => f.write_str("block"),
            Checkpointing::Auto => f.write_str("auto"),
            Checkpointing::Blocks(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Checkpointing {
    type Err = UnknownSymbol;
    fn from_str(text: &str) -> Result<Self, UnknownSymbol> {
        match text {
            "none" => Ok(Checkpointing::None),
            "block" => Ok(Checkpointing::Block),
            "auto" => Ok(Checkpointing::Auto),
            _ => text.parse().map(Checkpointing::Blocks).map_err(|_| UnknownSymbol::new(text, Self::SYMBOLS)),
        }
    }
}

impl From<&str> for Targets {
    /// One of its words, or a single module's name.
    fn from(word: &str) -> Self {
        match word {
            "all_linear" => Targets::AllLinear,
            "attention" => Targets::Attention,
            "mlp" => Targets::Mlp,
            "query_value" => Targets::QueryValue,
            module => Targets::Modules(vec![module.to_owned()]),
        }
    }
}

impl fmt::Display for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Targets::AllLinear => f.write_str("all_linear"),
            Targets::Attention => f.write_str("attention"),
            Targets::Mlp => f.write_str("mlp"),
            Targets::QueryValue => f.write_str("query_value"),
            Targets::Modules(modules) => write!(f, "[{}]", modules.join(", ")),
        }
    }
}

impl fmt::Display for Warmup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warmup::Percent(percent) => write!(f, "{}", Percent(*percent)),
            Warmup::Steps(steps) => write!(f, "{}", Steps(*steps)),
        }
    }
}

impl fmt::Display for ImageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for ImageSize {
    type Err = NotASize;
    fn from_str(text: &str) -> Result<Self, NotASize> {
        let digits = |text: &str| text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
        let side = |text: &str| text.parse().ok().filter(|pixels| *pixels > 0 && digits(text));
        text.split_once('x')
            .and_then(|(width, height)| Some(ImageSize { width: side(width)?, height: side(height)? }))
            .ok_or_else(|| NotASize(text.to_owned()))
    }
}

impl Serialize for Checkpointing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Checkpointing::Blocks(count) => serializer.serialize_u32(*count),
            word => serializer.collect_str(word),
        }
    }
}

impl Serialize for Targets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Targets::Modules(modules) => modules.serialize(serializer),
            word => serializer.collect_str(word),
        }
    }
}

impl Serialize for Warmup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Warmup::Percent(_) => serializer.collect_str(self),
            Warmup::Steps(steps) => serializer.serialize_u64(*steps),
        }
    }
}

impl Serialize for ImageSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// JSON schemas of the types above.
#[cfg(feature = "schema")]
mod schema {
    use super::{Checkpointing, ImageSize, Targets, Warmup};

    macro_rules! schemas {
        ($($Type:ident: $schema:tt;)+) => {$(
            impl schemars::JsonSchema for $Type {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($Type).into()
                }
                fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    schemars::json_schema!($schema)
                }
            }
        )+};
    }

    schemas! {
        Checkpointing: {
            "description": "Which activations are recomputed: `none`, `block`, `auto`, or a count of blocks.",
            "anyOf": [{"enum": ["none", "block", "auto"]}, {"type": "integer", "format": "uint32", "minimum": 0}],
        };
        Targets: {
            "description": "Which linears get an adapter: a word, a module's name, or a list of names.",
            "anyOf": [
                {"enum": ["all_linear", "attention", "mlp", "query_value"]},
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}}
            ],
        };
        Warmup: {
            "description": "How long the learning rate rises: a percent of all steps, or a count of steps.",
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": crate::quantity::pattern!("(%|step)?")}],
        };
        ImageSize: {
            "description": "An image's size in pixels, width by height: `1344x896`.",
            "type": "string", "pattern": "^(?=[0-9]{1,9}x)0*[1-9][0-9]*x(?=[0-9]{1,9}$)0*[1-9][0-9]*$",
        };
    }
}
