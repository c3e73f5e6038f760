//! A mapping as the YAML text that people write.

use serde_yaml::{Mapping, Value as Yaml};

/// The text: a key a line, what is inside further in, numbers without an exponent (which PyYAML reads as text).
pub(super) fn of(mapping: &Mapping) -> String {
    let mut text = String::new();
    block(&mut text, mapping, "");
    text
}

fn block(text: &mut String, mapping: &Mapping, indent: &str) {
    for (key, value) in mapping {
        let key = inline(key);
        match value {
            Yaml::Mapping(inner) if !inner.is_empty() => {
                *text += &format!("{indent}{key}:\n");
                block(text, inner, &format!("{indent}  "));
            }
            Yaml::Sequence(items) if !items.is_empty() => {
                *text += &format!("{indent}{key}:\n");
                for item in items {
                    list_item(text, item, &format!("{indent}  "));
                }
            }
            value => *text += &format!("{indent}{key}: {}\n", inline(value)),
        }
    }
}

fn list_item(text: &mut String, item: &Yaml, indent: &str) {
    match item {
        Yaml::Mapping(inner) if !inner.is_empty() => {
            let mut lines = String::new();
            block(&mut lines, inner, &format!("{indent}  "));
            *text += &format!("{indent}- {}", lines.trim_start());
        }
        item => *text += &format!("{indent}- {}\n", inline(item)),
    }
}

/// A value in a line.
pub(super) fn inline(value: &Yaml) -> String {
    match value {
        Yaml::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => {
                let digits = float.to_string();
                if digits.contains('.') { digits } else { digits + ".0" }
            }
            _ => number.to_string(),
        },
        Yaml::String(text) if text.contains('\n') => serde_json::to_string(text).unwrap_or_default(),
        // The emitter quotes what would be read as something else.
        value => serde_yaml::to_string(value).unwrap_or_default().trim_end().to_owned(),
    }
}
