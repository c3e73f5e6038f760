//! The files that are generated from the table: the JSON schema and the page of settings.

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
    schema["$defs"] = serde_json::Value::Object(generator.take_definitions(true));
    schema
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
