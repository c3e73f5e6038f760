//! The table of blocks and settings, and the macro that makes it together with the structs.
//!
//! Reading, checking, did-you-mean, the documentation and the schema all go by this table, so a setting is added in
//! one place: `blocks.rs`.

use std::fmt;

use crate::quantity::Dimension;

/// A block of the plan, as the table knows it.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its name: `train`.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
    /// What may stand after its name: `lora` in `adapter lora { }`. Empty where nothing may.
    pub kinds: &'static [Symbol],
    /// Its settings in the order of the documentation.
    pub settings: &'static [Setting],
    /// The blocks inside it.
    pub blocks: &'static [&'static Block],
    /// Its settings are limits (`device_memory <= 14.5GiB`).
    pub limits: bool,
}

/// A setting of a block.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: `micro_batch`.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value when a plan says nothing, in words or as a plan would write it.
    pub default: Option<&'static str>,
    /// The least number it takes.
    pub least: Option<f64>,
}

/// A word that a setting takes, and its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// As written.
    pub name: &'static str,
    /// Its meaning.
    pub doc: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// One of these words.
    Symbol(&'static [Symbol]),
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// Bytes.
    Bytes,
    /// Tokens, with a unit or without.
    Tokens,
    /// Optimizer steps, with a unit or without.
    Steps,
    /// A duration.
    Duration,
    /// Money.
    Money,
    /// A percent.
    Percent,
    /// Text in quotes.
    Text,
    /// A path in quotes, relative to the plan's file.
    Path,
    /// A name, quoted where it is not a plain word.
    Name,
    /// A width and a height in pixels: `"1344x896"`.
    Size,
    /// `true` or `false`.
    Bool,
    /// A list.
    List(&'static Kind),
    /// Any of these.
    OneOf(&'static [Kind]),
}

impl Kind {
    /// The words it takes, its parts' included.
    pub fn symbols(&self) -> Vec<Symbol> {
        match self {
            Kind::Symbol(symbols) => symbols.to_vec(),
            Kind::OneOf(kinds) => kinds.iter().flat_map(Kind::symbols).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether it takes a list.
    pub fn takes_list(&self) -> bool {
        match self {
            Kind::List(_) => true,
            Kind::OneOf(kinds) => kinds.iter().any(Kind::takes_list),
            _ => false,
        }
    }

    /// Whether it, or an element of its list, takes any name.
    pub fn takes_names(&self) -> bool {
        match self {
            Kind::Name => true,
            Kind::List(kind) => kind.takes_names(),
            Kind::OneOf(kinds) => kinds.iter().any(Kind::takes_names),
            _ => false,
        }
    }

    /// Whether it takes text in quotes.
    pub fn takes_text(&self) -> bool {
        match self {
            Kind::Text | Kind::Path | Kind::Name | Kind::Size => true,
            Kind::OneOf(kinds) => kinds.iter().any(Kind::takes_text),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    /// With an article and an example: "tokens (2048tok)".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dimension = |f: &mut fmt::Formatter<'_>, d: Dimension| write!(f, "{d} ({})", d.example());
        match self {
            Kind::Symbol(symbols) => {
                for (n, symbol) in symbols.iter().enumerate() {
                    let before = if n == 0 {
                        ""
                    } else if n + 1 == symbols.len() {
                        " or "
                    } else {
                        ", "
                    };
                    write!(f, "{before}`{}`", symbol.name)?;
                }
                Ok(())
            }
            Kind::Integer => f.write_str("a whole number"),
            Kind::Number => f.write_str("a number"),
            Kind::Bytes => dimension(f, Dimension::Bytes),
            Kind::Tokens => dimension(f, Dimension::Tokens),
            Kind::Steps => dimension(f, Dimension::Steps),
            Kind::Duration => dimension(f, Dimension::Time),
            Kind::Money => dimension(f, Dimension::Money),
            Kind::Percent => dimension(f, Dimension::Percent),
            Kind::Text => f.write_str("text in quotes"),
            Kind::Path => f.write_str("a path in quotes"),
            Kind::Name => f.write_str("a name"),
            Kind::Size => f.write_str("a size in pixels (\"1344x896\")"),
            Kind::Bool => f.write_str("`true` or `false`"),
            Kind::List(Kind::Name) => f.write_str("a list of names"),
            Kind::List(Kind::Number) => f.write_str("a list of numbers"),
            Kind::List(kind) => write!(f, "a list of {kind}"),
            Kind::OneOf(kinds) => {
                for (n, kind) in kinds.iter().enumerate() {
                    write!(f, "{}{kind}", if n == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
        }
    }
}

impl Block {
    /// The setting of that name.
    pub fn setting(&self, name: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }

    /// The block of that name inside it.
    pub fn block(&self, name: &str) -> Option<&'static Block> {
        self.blocks.iter().copied().find(|block| block.name == name)
    }
}

/// A word that is not among the symbols of its setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{written}` is not one of {}{}", .known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    .nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
pub struct UnknownSymbol {
    /// What was written.
    pub written: String,
    /// What could have been.
    pub known: Vec<&'static str>,
    /// The symbol closest to it, if any is close.
    pub nearest: Option<&'static str>,
}

impl UnknownSymbol {
    pub(crate) fn new(written: &str, symbols: &[Symbol]) -> Self {
        let known: Vec<_> = symbols.iter().map(|symbol| symbol.name).collect();
        UnknownSymbol { written: written.to_owned(), nearest: nearest(written, known.iter().copied()), known }
    }
}

/// The name closest to `written`, if one is close enough to have been meant.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_ascii_lowercase().replace(['-', '_'], "");
    let wanted = plain(written);
    names
        .into_iter()
        .filter_map(|name| {
            let close = plain(name);
            // a part of the longer name is a good guess where letters alone are far: `batch` for `micro_batch`
            let part = wanted.len() >= 3 && close.len() >= 3 && (close.contains(&wanted) || wanted.contains(&close));
            let distance = strsim::damerau_levenshtein(&wanted, &close);
            // a guess that shares no letter is none
            let letters = wanted.chars().count();
            (distance <= 1 + letters.min(12) / 4 && distance < letters || part).then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Makes a block: the struct, its entry in the table and the setting of its fields by name, from one list.
///
/// `of Choice` holds settings, `of Limit` holds limits. `(kind: K)` is what stands after the block's name.
macro_rules! block {
    (
        $(#[doc = $doc:literal])+
        pub struct $Block:ident: $name:literal $(($head:ident: $Head:ty))? of $Wrap:ident {
            $($(#[doc = $meaning:literal])+ $setting:ident: $Type:ty $(= $default:literal)? $(, least $least:literal)?;)*
        }
        $(blocks { $($(#[doc = $child_doc:literal])+ $child:ident: $Child:ident;)* })?
        $(lists { $($(#[doc = $list_doc:literal])+ $list:ident: $Listed:ty;)* })?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        // what serde derives is wrapped below
        #[serde(deny_unknown_fields, remote = "Self")]
        pub struct $Block {
            $(
                #[doc = concat!("What stands after `", $name, "`.")]
                pub $head: $Head,
            )?
            $(
                $(#[doc = $meaning])+
                $(#[doc = concat!("\n\nDefault: `", $default, "`.")])?
                #[serde(default, deserialize_with = "crate::plan::data::setting", skip_serializing_if = "Option::is_none")]
                pub $setting: Option<$Wrap<$Type>>,
            )*
            $($(
                $(#[doc = $child_doc])+
                #[serde(default, deserialize_with = "crate::plan::data::block", skip_serializing_if = "Option::is_none")]
                pub $child: Option<$Child>,
            )*)?
            $($(
                $(#[doc = $list_doc])+
                #[serde(default, skip_serializing_if = "Vec::is_empty")]
                pub $list: Vec<$Listed>,
            )*)?
        }

        impl serde::Serialize for $Block {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $Block::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $Block {
            /// The settings' values are in the range that the table has for them.
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                /// A block is a mapping; the derive would take a list too.
                struct Mapping;

                impl<'de> serde::de::Visitor<'de> for Mapping {
                    type Value = $Block;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        write!(f, "the settings of `{}`", $name)
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<$Block, A::Error> {
                        $Block::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    }
                }

                let block = deserializer.deserialize_map(Mapping)?;
                $($(
                    let below = |held| $crate::plan::section::Held::below(held, $least as f64);
                    if let Some(number) = block.$setting.as_ref().and_then(below) {
                        let message = concat!("`", stringify!($setting), "` is at least ", $least);
                        return Err(serde::de::Error::custom(format!("{message}, got {number}")));
                    }
                )?)*
                Ok(block)
            }
        }

        impl $Block {
            /// Its entry in the table of blocks.
            pub const SPEC: &'static $crate::plan::spec::Block = &$crate::plan::spec::Block {
                name: $name,
                doc: concat!($($doc),+).trim_ascii(),
                kinds: $crate::plan::spec::first(&[$(<$Head as $crate::plan::section::Head>::KINDS,)?]),
                settings: &[$($crate::plan::spec::Setting {
                    name: stringify!($setting),
                    doc: concat!($($meaning),+).trim_ascii(),
                    kind: <$Type as $crate::plan::value::SettingType>::KIND,
                    default: $crate::plan::spec::some(&[$($default)?]),
                    least: $crate::plan::spec::least(&[$($least as f64)?]),
                }),*],
                blocks: &[$($($Child::SPEC),*)?],
                limits: <$Wrap<()> as $crate::plan::section::Held>::LIMITS,
            };
        }

        impl $crate::plan::section::Section for $Block {
            fn spec(&self) -> &'static $crate::plan::spec::Block {
                Self::SPEC
            }
            #[allow(unused_variables)]
            fn set_head(&mut self, text: &str) -> Result<(), $crate::plan::spec::UnknownSymbol> {
                $(self.$head = <$Head as $crate::plan::section::Head>::read(text)?;)?
                Ok(())
            }
            fn set(&mut self, name: &str, item: &$crate::plan::value::Item) -> Result<(), Vec<$crate::plan::value::Fault>> {
                match name {
                    $(stringify!($setting) => self.$setting = Some($crate::plan::section::Held::from_item(item)?),)*
                    _ => {}
                }
                Ok(())
            }
            fn choose(&mut self, name: &str, number: usize) {
                match name {
                    $(stringify!($setting) => self.$setting.iter_mut().for_each(|held| $crate::plan::section::Held::choose(held, number)),)*
                    _ => {}
                }
            }
            fn section(&mut self, name: &str) -> Option<&mut dyn $crate::plan::section::Section> {
                match name {
                    $($(stringify!($child) => Some(self.$child.get_or_insert_default()),)*)?
                    _ => None,
                }
            }
        }
    };
}

pub(crate) const fn first(kinds: &[&'static [Symbol]]) -> &'static [Symbol] {
    match kinds {
        [kinds] => kinds,
        _ => &[],
    }
}

pub(crate) const fn some(default: &[&'static str]) -> Option<&'static str> {
    match default {
        [default] => Some(default),
        _ => None,
    }
}

pub(crate) const fn least(bound: &[f64]) -> Option<f64> {
    match bound {
        [bound] => Some(*bound),
        _ => None,
    }
}
