//! One line of a data set: which kinds there are, and how they are told apart.

use super::error::LineProblem;
use crate::template::Message;
use serde_json::{Map, Value};
use std::str::FromStr;

/// What a line holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `{"messages": [{"role", "content"}]}` or `{"conversations": [{"from", "value"}]}`.
    Chat,
    /// `{"instruction", "input"?, "output"}` or `{"prompt", "completion"}`.
    Instruction,
    /// `{"text"}`.
    Text,
    /// What the first record's keys say.
    #[default]
    Auto,
}

impl Format {
    /// As written in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Instruction => "instruction",
            Self::Text => "text",
            Self::Auto => "auto",
        }
    }

    /// The format that the record's keys belong to.
    fn of(record: &Map<String, Value>) -> Option<Self> {
        let has = |key: &str| record.contains_key(key);
        if has("messages") || has("conversations") {
            Some(Self::Chat)
        } else if has("instruction") && has("output") || has("prompt") && has("completion") {
            Some(Self::Instruction)
        } else if has("text") {
            Some(Self::Text)
        } else {
            None
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        [Self::Chat, Self::Instruction, Self::Text, Self::Auto]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| format!("`{name}` is no data format; known are chat, instruction, text, auto"))
    }
}

/// A record, understood.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record {
    Chat(Vec<Message>),
    Instruction { prompt: String, answer: String },
    Text(String),
}

/// The object of a line.
pub(super) fn object(line: &str) -> Result<Map<String, Value>, LineProblem> {
    serde_json::from_str(line).map_err(|error| LineProblem::Json { reason: error.to_string() })
}

/// `auto`, decided by a record.
pub(super) fn detect(format: Format, record: &Map<String, Value>) -> Result<Format, LineProblem> {
    match format {
        Format::Auto => Format::of(record).ok_or_else(|| LineProblem::UnknownFormat { keys: keys(record) }),
        known => Ok(known),
    }
}

/// The record as one of `format`, which is not `auto`.
pub(super) fn read(format: Format, record: &Map<String, Value>) -> Result<Record, LineProblem> {
    let wrong = |reason: String| LineProblem::Record { format: format.name(), reason };
    let text = |key: &str| match record.get(key) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(format!("`{key}` is {}, a string is expected", kind(other)))),
        None => Err(wrong(format!("`{key}` is missing (the keys are {})", keys(record)))),
    };
    match format {
        Format::Text | Format::Auto => text("text").map(Record::Text),
        Format::Instruction if record.contains_key("prompt") => {
            Ok(Record::Instruction { prompt: text("prompt")?, answer: text("completion")? })
        }
        Format::Instruction => {
            let mut prompt = text("instruction")?;
            if record.get("input").is_some_and(|input| !input.is_null()) {
                let input = text("input")?;
                if !input.is_empty() {
                    prompt.push_str("\n\n");
                    prompt.push_str(&input);
                }
            }
            Ok(Record::Instruction { prompt, answer: text("output")? })
        }
        Format::Chat => {
            let (key, role, content) = match record.contains_key("messages") {
                true => ("messages", "role", "content"),
                false => ("conversations", "from", "value"),
            };
            let turns = match record.get(key) {
                Some(Value::Array(turns)) => turns,
                Some(other) => {
                    return Err(wrong(format!("`{key}` is {}, a list is expected", kind(other))));
                }
                None => {
                    return Err(wrong(format!("`messages` is missing (the keys are {})", keys(record))));
                }
            };
            let message = |(number, turn): (usize, &Value)| {
                let at = |reason: &str| wrong(format!("turn {} of `{key}` {reason}", number + 1));
                let turn = turn.as_object().ok_or_else(|| at("is no object"))?;
                let role =
                    turn.get(role).and_then(Value::as_str).ok_or_else(|| at(&format!("has no text `{role}`")))?;
                if turn.get("tool_calls").is_some_and(|calls| !calls.is_null()) {
                    return Err(at("has `tool_calls`, which are not read in this version"));
                }
                let content = match turn.get(content) {
                    Some(Value::String(text)) => text.clone(),
                    Some(Value::Array(parts)) => parts_text(parts)
                        .ok_or_else(|| at("has parts that are no text, which are not read in this version"))?,
                    _ => return Err(at(&format!("has no text `{content}`"))),
                };
                Ok(Message { role: common_role(role).to_owned(), content })
            };
            let messages: Vec<Message> = turns.iter().enumerate().map(message).collect::<Result<_, _>>()?;
            match messages.is_empty() {
                true => Err(wrong(format!("`{key}` is empty"))),
                false => Ok(Record::Chat(messages)),
            }
        }
    }
}

/// ShareGPT's words for the roles.
fn common_role(role: &str) -> &str {
    match role {
        "human" => "user",
        "gpt" | "bot" | "model" | "chatgpt" => "assistant",
        other => other,
    }
}

/// The text of `[{"type": "text", "text": ..}]`.
fn parts_text(parts: &[Value]) -> Option<String> {
    let text = |part: &Value| (part.get("type")? == "text").then(|| part.get("text")?.as_str().map(str::to_owned))?;
    parts.iter().map(text).collect()
}

fn keys(record: &Map<String, Value>) -> String {
    match record.is_empty() {
        true => "none".to_owned(),
        false => record.keys().take(12).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", "),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
