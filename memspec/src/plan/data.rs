//! A setting's value as serde gives it, whatever the format.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de};

use super::section::Section;
use super::spec::Kind;
use super::value::{Item, SettingType, Value};
use super::{Checkpointing, Expression, ImageSize, Name, Targets, Warmup};
use crate::quantity::Quantity;

/// Any value.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Data {
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Data>),
    Mapping(BTreeMap<String, Data>),
    Nothing,
}

impl Data {
    /// As something that a setting of that kind reads.
    pub(super) fn item(self, kind: Kind) -> Item {
        let items = |values: Vec<Data>| values.into_iter().map(|value| value.item(kind)).collect();
        let value = match self {
            Data::Bool(value) => Value::Bool(value),
            Data::Number(number) => Value::Quantity(Quantity::number(number)),
            Data::Text(text) => text_of(kind, text),
            Data::List(values) => Value::List(items(values)),
            Data::Mapping(mut choice) if choice.len() == 1 => match choice.pop_first() {
                Some((word, Data::List(values))) if word == "fit" => Value::Fit(items(values)),
                Some((word, Data::List(values))) if word == "sweep" => Value::Sweep(items(values)),
                Some((word, Data::Text(text))) if word == "compute" => {
                    serde_json::from_value::<Expression>(text.into()).map_or(Value::Hole, Value::Computed)
                }
                _ => Value::Hole,
            },
            Data::Mapping(_) | Data::Nothing => Value::Hole,
        };
        Item { value, span: 0..0 }
    }
}

macro_rules! read {
    ($($Type:ty),+) => {$(
        impl<'de> Deserialize<'de> for $Type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let kind = <$Type>::KIND;
                let item = Data::deserialize(deserializer)?.item(kind);
                <$Type>::read(&item).map_err(|_| de::Error::custom(format!("expected {kind}")))
            }
        }
    )+};
}

read!(Checkpointing, ImageSize, Name, Targets, Warmup);

/// A text of YAML or JSON: a word or quantity of its setting. Where a setting takes numbers or `true` and `false`, which both formats have, it is none of these.
pub(crate) fn text_of(kind: Kind, text: String) -> Value {
    if is_no_text(kind, &text) { Value::Text(text) } else { Value::Word(text) }
}

fn is_no_text(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Bool | Kind::Integer | Kind::Number => true,
        Kind::List(kind) => is_no_text(*kind, text),
        Kind::OneOf(kinds) => {
            kinds.contains(&Kind::Integer) && (text.parse::<Quantity>().is_ok() || text.parse::<f64>().is_ok())
        }
        _ => false,
    }
}

/// A setting that is written has a value.
pub(super) fn setting<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A block with nothing in it, which is fine where it needs no kind.
pub(super) fn block<'de, D: Deserializer<'de>, T: Deserialize<'de> + Section + Default>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    match Option::<T>::deserialize(deserializer)? {
        Some(block) => Ok(Some(block)),
        None if T::default().spec().kinds.is_empty() => Ok(Some(T::default())),
        None => Err(de::Error::custom(format!("`{}` needs a kind", T::default().spec().name))),
    }
}
