//! A setting's value, or the values it may take.

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Expression;

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

/// The shapes of a choice in YAML and JSON; the derives read it and write its schema.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged, deny_unknown_fields)]
#[allow(dead_code, reason = "with `schema`, the fields are also read by the derive")]
enum Form<T> {
    One(T),
    #[cfg_attr(feature = "schema", schemars(description = "The first of these with which the plan meets its budget."))]
    Fit {
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        fit: Vec<T>,
    },
    #[cfg_attr(feature = "schema", schemars(description = "Every one of these, one run each."))]
    Sweep {
        #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
        sweep: Vec<T>,
    },
    #[cfg_attr(
        feature = "schema",
        schemars(description = "What follows from other settings: `64 / train.micro_batch`.")
    )]
    Compute {
        compute: Expression,
    },
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Choice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::One(value) => Ok(Choice::One(value)),
            Form::Fit { fit: values } | Form::Sweep { sweep: values } if values.is_empty() => {
                Err(de::Error::custom("`fit` and `sweep` need at least one value"))
            }
            Form::Fit { fit } => Ok(Choice::Fit(fit)),
            Form::Sweep { sweep } => Ok(Choice::Sweep(sweep)),
            Form::Compute { compute } => Ok(Choice::Computed(compute)),
        }
    }
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
