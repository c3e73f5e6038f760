//! How much a YAML text may say before it is read: aliases can make a few lines into more values than any memory holds.

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use crate::plan::Problem;

/// A text longer than this is no plan.
const MOST_BYTES: usize = 4 << 20;
/// As many values are read, those of aliases as often as they stand.
const MOST_VALUES: usize = 1 << 18;

/// Refuses a text that is too long.
pub(super) fn in_length(text: &str) -> Result<(), Box<Problem>> {
    if text.len() <= MOST_BYTES {
        return Ok(());
    }
    Err(too_much(format!("a plan has at most {} MiB, and this text is longer", MOST_BYTES >> 20)))
}

/// Refuses a text that says too much. What is no YAML is for the reader to say.
pub(super) fn in_values(text: &str) -> Result<(), Box<Problem>> {
    let mut left = MOST_VALUES;
    let counted = Values(&mut left).deserialize(serde_yaml::Deserializer::from_str(text));
    // the parser has a limit of its own for aliases in aliases
    if counted.is_err_and(|error| left == 0 || error.to_string() == "repetition limit exceeded") {
        let help = "an alias (`*name`) counts as all that its anchor (`&name`) holds";
        return Err(too_much(format!("a plan has at most {MOST_VALUES} values; {help}")));
    }
    Ok(())
}

fn too_much(message: String) -> Box<Problem> {
    Box::new(Problem::new("syntax", 0..0, message).label("here it begins"))
}

/// Counts values without keeping them, and stops when none is left.
struct Values<'a>(&'a mut usize);

impl<'de> DeserializeSeed<'de> for Values<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        *self.0 = self.0.checked_sub(1).ok_or_else(|| D::Error::custom("too many values"))?;
        deserializer.deserialize_any(self)
    }
}

/// Scalars are one value each.
macro_rules! scalars {
    ($($visit:ident: $Type:ty),+) => {
        $(fn $visit<E>(self, _: $Type) -> Result<(), E> { Ok(()) })+
    };
}

impl<'de> Visitor<'de> for Values<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Values(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Values(self.0))?.is_some() {
            map.next_value_seed(Values(self.0))?;
        }
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (Tag, inner) = tagged.variant()?;
        inner.newtype_variant_seed(self)
    }
}

/// `!name` before a value.
struct Tag;

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(serde::de::IgnoredAny).map(|_| Tag)
    }
}
