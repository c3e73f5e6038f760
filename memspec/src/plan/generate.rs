//! The files that are generated from the table: the JSON schema and the page of settings.

use serde_json::Value;

use super::value::COUNT;
use super::{Kind, Plan, Setting};

/// The JSON schema of a plan in YAML or JSON: one plan, or `plans` with a list of them.
pub fn schema() -> serde_json::Value {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let plan = generator.subschema_for::<Plan>();
    let mut schema = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "memspec plan",
        "description": "A fine-tuning plan, or several under `plans`.",
        "anyOf": [
            plan,
            {"type": "object", "required": ["plans"], "additionalProperties": false, "properties": {"plans": {"type": "array", "items": plan}}},
        ],
    });
    let mut definitions = generator.take_definitions(true);
    for block in std::iter::once(&Plan::SPEC).chain(Plan::blocks()) {
        // the derive names a block as its type
        let name = block.name[..1].to_uppercase() + &block.name[1..];
        let properties = &mut definitions[&name]["properties"];
        block.settings.iter().for_each(|setting| present(&mut properties[setting.name]));
        let kinded = block.blocks.iter().filter(|inner| !inner.kinds.is_empty());
        kinded.for_each(|inner| present(&mut properties[inner.name]));
    }
    definitions.values_mut().for_each(|definition| bound(definition, None, &serde_json::Map::new()));
    let shared = definitions.clone();
    for block in std::iter::once(&Plan::SPEC).chain(Plan::blocks()) {
        let name = block.name[..1].to_uppercase() + &block.name[1..];
        for setting in block.settings {
            bound(&mut definitions[&name]["properties"][setting.name], setting.least, &shared);
        }
    }
    schema["$defs"] = serde_json::Value::Object(definitions);
    schema
}

/// What is written is not `null`: the derive allows that for all that may be left out.
fn present(property: &mut Value) {
    if let Some([value, _null]) = property["anyOf"].as_array().map(Vec::as_slice) {
        let mut value = value.clone();
        value["description"] = property["description"].take();
        *property = value;
    }
    if let Some(types) = property["type"].as_array() {
        property["type"] = types.iter().find(|name| *name != "null").cloned().unwrap_or_default();
    }
}

/// Gives the numbers of a setting their ends, which the derive does not know.
fn bound(schema: &mut Value, least: Option<f64>, shared: &serde_json::Map<String, Value>) {
    match schema {
        Value::Object(keys) => {
            // a definition is shared with settings that are bounded otherwise
            let name = keys.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
            if let Some(definition) = name.and_then(|name| shared.get(name)).filter(|_| least.is_some()) {
                keys.remove("$ref");
                definition.as_object().into_iter().flatten().for_each(|(key, value)| {
                    keys.entry(key).or_insert_with(|| value.clone());
                });
            }
            if let Some("integer" | "number") = keys.get("type").and_then(Value::as_str) {
                let whole = keys["type"] == "integer";
                if let Some(least) = least {
                    keys.insert("minimum".to_owned(), if whole { (least as u64).into() } else { least.into() });
                }
                let narrow = keys.get("format").is_some_and(|format| format == "uint32");
                let most = if narrow { f64::from(u32::MAX) } else { COUNT };
                if whole {
                    keys.insert("maximum".to_owned(), (most as u64).into());
                }
            }
            keys.values_mut().for_each(|inner| bound(inner, least, shared));
        }
        Value::Array(values) => values.iter_mut().for_each(|inner| bound(inner, least, shared)),
        _ => {}
    }
}

/// `docs/settings.md`: every block and setting with its type, default and meaning.
pub fn settings_page() -> String {
    let mut page = String::from(
        "# Every block and setting of a plan\n\n\
         <!-- generated from the typed spec in `memspec/src/plan/blocks.rs`; `cargo run -p memspec --example generate` writes it anew -->\n\n\
         Every setting may be left out, and every one takes `fit [..]` (the first value that fits the budget) or `sweep [..]` (one run each)\n\
         in place of a value. Limits of `budget` are written with a comparison: `device_memory <= 14.5GiB`.\n",
    );
    for block in std::iter::once(&Plan::SPEC).chain(Plan::blocks()) {
        let kinds = if block.kinds.is_empty() { String::new() } else { " KIND".to_owned() };
        let name = if block.name == "plan" { " \"NAME\"".to_owned() } else { kinds };
        page += &format!("\n## `{}{name}`\n\n{}\n", block.name, block.doc);
        if !block.kinds.is_empty() {
            page += "\n| kind | |\n| --- | --- |\n";
            for kind in block.kinds {
                page += &format!("| `{}` | {} |\n", kind.name, kind.doc);
            }
        }
        page += "\n| setting | takes | default | meaning |\n| --- | --- | --- | --- |\n";
        for setting in block.settings {
            page += &row(setting);
        }
    }
    page
}

fn row(setting: &Setting) -> String {
    let default = match setting.default {
        // a value as a plan writes it is code, words are words
        Some(default) if !default.contains(' ') || default.starts_with('[') => {
            format!("`{default}`")
        }
        Some(default) => default.to_owned(),
        None => String::new(),
    };
    let least = setting.least.map(|least| format!(", at least {least}")).unwrap_or_default();
    let kind = match setting.kind {
        // one word a line, with its meaning
        Kind::Symbol(symbols) => {
            symbols.iter().map(|s| format!("`{}`: {}", s.name, s.doc)).collect::<Vec<_>>().join("<br>")
        }
        kind => kind.to_string(),
    };
    format!("| `{}` | {kind}{least} | {default} | {} |\n", setting.name, setting.doc)
}
