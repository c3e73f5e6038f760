//! A data file's records: JSONL, or one JSON list.

use serde_json::{Map, Value};

/// A record, as far as its length goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// Turns of a conversation: role and words.
    Chat(Vec<(String, String)>),
    /// A question and its answer.
    Instruction(String, String),
    /// A text as it stands.
    Text(String),
}

/// All records; `None` where one is not of the format, which `auto` takes from the first.
pub(super) fn read(text: &str, format: &str) -> Option<Vec<Record>> {
    let objects: Vec<Map<String, Value>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).ok()?
    } else {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        lines.map(|line| serde_json::from_str(line).ok()).collect::<Option<_>>()?
    };
    let first = objects.first()?;
    let has = |key: &str| first.contains_key(key);
    let format = match format {
        "auto" if has("messages") || has("conversations") => "chat",
        "auto" if has("instruction") || has("prompt") => "instruction",
        "auto" => "text",
        known => known,
    };
    objects.iter().map(|object| record(object, format)).collect()
}

fn record(object: &Map<String, Value>, format: &str) -> Option<Record> {
    let text = |key: &str| object.get(key)?.as_str().map(str::to_owned);
    match format {
        "chat" => chat(object).map(Record::Chat),
        "instruction" if object.contains_key("prompt") => {
            Some(Record::Instruction(text("prompt")?, text("completion")?))
        }
        "instruction" => {
            let mut question = text("instruction")?;
            if let Some(input) = text("input").filter(|input| !input.is_empty()) {
                question = format!("{question}\n\n{input}");
            }
            Some(Record::Instruction(question, text("output")?))
        }
        _ => text("text").map(Record::Text),
    }
}

fn chat(object: &Map<String, Value>) -> Option<Vec<(String, String)>> {
    let (turns, role, words) = match (object.get("messages"), object.get("conversations")) {
        (Some(turns), _) => (turns, "role", "content"),
        (None, turns) => (turns?, "from", "value"),
    };
    let turn = |turn: &Value| {
        let role = match turn.get(role)?.as_str()? {
            "human" => "user",
            "gpt" | "bot" | "model" | "chatgpt" => "assistant",
            other => other,
        };
        Some((role.to_owned(), said(turn.get(words)?)?))
    };
    turns.as_array()?.iter().map(turn).collect()
}

/// A turn's words: a text, or the texts of its parts.
fn said(words: &Value) -> Option<String> {
    let part = |part: &Value| part.get("text")?.as_str().map(str::to_owned);
    match words {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => parts.iter().map(part).collect(),
        _ => None,
    }
}
