//! A data file's records: JSONL, one JSON list, or Parquet.

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value};

/// What a Parquet file begins with.
const PARQUET: &[u8] = b"PAR1";

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

/// All records, or what is wrong with one; `auto` takes the format from the first.
pub(super) fn read(data: Vec<u8>, format: &str) -> Result<Vec<Record>, String> {
    let objects = if data.starts_with(PARQUET) {
        parquet(data).map_err(|error| format!("it is no whole Parquet file, or of a kind that is not read: {error}"))?
    } else {
        json(&data)?
    };
    let first = objects.first().ok_or("it has no records")?;
    let has = |key: &str| first.contains_key(key);
    let format = match format {
        "auto" if has("messages") || has("conversations") => "chat",
        "auto" if has("instruction") || has("prompt") => "instruction",
        "auto" => "text",
        known => known,
    };
    let numbered = |(index, object)| record(object, format).map_err(|why| format!("record {}: {why}", index + 1));
    objects.iter().enumerate().map(numbered).collect()
}

fn json(data: &[u8]) -> Result<Vec<Map<String, Value>>, String> {
    let text = std::str::from_utf8(data).map_err(|_| "it is not UTF-8 text")?;
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(|error| format!("it is not a list of JSON objects: {error}"));
    }
    let object = |(index, line)| {
        serde_json::from_str(line).map_err(|error| format!("line {} is not a JSON object: {error}", index + 1))
    };
    text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).map(object).collect()
}

fn parquet(data: Vec<u8>) -> Result<Vec<Map<String, Value>>, ParquetError> {
    let reader = SerializedFileReader::new(bytes::Bytes::from(data))?;
    let object = |row: Result<parquet::record::Row, ParquetError>| match row?.to_json_value() {
        Value::Object(object) => Ok(object),
        _ => Ok(Map::new()),
    };
    reader.get_row_iter(None)?.map(object).collect()
}

fn record(object: &Map<String, Value>, format: &str) -> Result<Record, String> {
    let text = |key: &str| {
        object.get(key).and_then(Value::as_str).map(str::to_owned).ok_or(format!("`{key}` is missing, or no text"))
    };
    match format {
        "chat" => chat(object).map(Record::Chat),
        "instruction" if object.contains_key("prompt") => Ok(Record::Instruction(text("prompt")?, text("completion")?)),
        "instruction" => {
            let mut question = text("instruction")?;
            if let Some(input) = text("input").ok().filter(|input| !input.is_empty()) {
                question = format!("{question}\n\n{input}");
            }
            Ok(Record::Instruction(question, text("output")?))
        }
        _ => text("text").map(Record::Text),
    }
}

fn chat(object: &Map<String, Value>) -> Result<Vec<(String, String)>, String> {
    let [list, role, words] = match object.contains_key("messages") {
        true => ["messages", "role", "content"],
        false => ["conversations", "from", "value"],
    };
    let turn = |turn: &Value| {
        let role = match turn.get(role)?.as_str()? {
            "human" => "user",
            "gpt" | "bot" | "model" | "chatgpt" => "assistant",
            other => other,
        };
        Some((role.to_owned(), said(turn.get(words)?)?))
    };
    let turns = object.get(list).and_then(Value::as_array).and_then(|turns| turns.iter().map(turn).collect());
    turns.ok_or_else(|| format!("`{list}` are not turns with a role and words"))
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
