//! A setting's value, or the values it may take.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Expression;
use super::data::Data;
use super::section::Held;
use super::value::SettingType;

/// What a plan says of one setting: a value, or several to choose from.
///
/// In YAML and JSON the last three are `{fit: [8, 4]}`, `{sweep: [8, 4]}` and `{compute: 64 / train.micro_batch}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice<T> {
    /// This value.
    One(T),
    /// The first of these, in order, with which the plan meets its budget.
    Fit(Vec<T>),
    /// Every one of these, one run each.
    Sweep(Vec<T>),
    /// What follows from settings that have several values, once each of them has one.
    Computed(Expression),
}

impl<T> Choice<T> {
    /// The value, when there is nothing to choose.
    pub fn one(&self) -> Option<&T> {
        match self {
            Choice::One(value) => Some(value),
            Choice::Fit(_) | Choice::Sweep(_) | Choice::Computed(_) => None,
        }
    }

    /// Every value the setting may take, the preferred one first; none where it follows from others.
    pub fn values(&self) -> &[T] {
        match self {
            Choice::One(value) => std::slice::from_ref(value),
            Choice::Fit(values) | Choice::Sweep(values) => values,
            Choice::Computed(_) => &[],
        }
    }
}

impl<T> From<T> for Choice<T> {
    fn from(value: T) -> Self {
        Choice::One(value)
    }
}

impl From<&str> for Choice<String> {
    fn from(value: &str) -> Self {
        Choice::One(value.to_owned())
    }
}

impl From<&str> for Choice<std::path::PathBuf> {
    fn from(value: &str) -> Self {
        Choice::One(value.into())
    }
}

impl From<&str> for Choice<super::Name> {
    fn from(value: &str) -> Self {
        Choice::One(value.into())
    }
}

impl<T: Serialize> Serialize for Choice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = match self {
            Choice::One(value) => return value.serialize(serializer),
            _ => serializer.serialize_map(Some(1))?,
        };
        match self {
            Choice::One(_) => {}
            Choice::Fit(values) => map.serialize_entry("fit", values)?,
            Choice::Sweep(values) => map.serialize_entry("sweep", values)?,
            Choice::Computed(expression) => map.serialize_entry("compute", expression)?,
        }
        map.end()
    }
}

impl<'de, T: SettingType> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let item = Data::deserialize(deserializer)?.item(T::KIND);
        Choice::from_item(&item).map_err(|_| de::Error::custom(format!("expected {}", T::KIND)))
    }
}

/// The shapes of a choice in YAML and JSON.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged, deny_unknown_fields)]
#[allow(dead_code, reason = "the derive reads it")]
enum Form<T> {
    One(T),
    #[schemars(description = "The first of these with which the plan meets its budget.")]
    Fit {
        #[schemars(length(min = 1))]
        fit: Vec<T>,
    },
    #[schemars(description = "Every one of these, one run each.")]
    Sweep {
        #[schemars(length(min = 1))]
        sweep: Vec<T>,
    },
    #[schemars(description = "What follows from other settings: `64 / train.micro_batch`.")]
    Compute {
        compute: Expression,
    },
}

#[cfg(feature = "schema")]
impl<T: schemars::JsonSchema> schemars::JsonSchema for Choice<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Choice_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Form::<T>::json_schema(generator)
    }
}
