//! A tokenizer from the files of a model's folder.

use super::{Parts, TemplateSource, TokenizerError, gguf};
use serde_json::{Map, Value};
use std::io;
use std::path::Path;

pub(super) fn open(folder: &Path) -> Result<Parts, TokenizerError> {
    let path = folder.join("tokenizer.json");
    if !path.exists() {
        return without_json(folder);
    }
    let bytes = std::fs::read(&path).map_err(|source| TokenizerError::Io { path: path.clone(), source })?;
    let inner = tokenizers::Tokenizer::from_bytes(&bytes)
        .map_err(|error| TokenizerError::Broken { path: path.clone(), reason: error.to_string() })?;
    drop(bytes);
    let config = object(folder, "tokenizer_config.json")?;
    let generation = object(folder, "generation_config.json")?;
    let model = object(folder, "config.json")?;

    let token = |key: &str| content(config.get(key)?).and_then(|text| inner.token_to_id(text));
    let number = |file: &Map<String, Value>, key: &str| numbers(file.get(key));
    let first_of = |key: &str| [&generation, &model].into_iter().find_map(|file| number(file, key).first().copied());
    let bos = token("bos_token").or_else(|| first_of("bos_token_id"));
    let eos = token("eos_token").or_else(|| first_of("eos_token_id"));
    let pad = token("pad_token").or_else(|| first_of("pad_token_id"));
    let stop = number(&generation, "eos_token_id");
    let template = template(folder, &config)?;
    Ok(Parts { inner, name: path.display().to_string(), bos, eos, pad, stop, template, config })
}

fn without_json(folder: &Path) -> Result<Parts, TokenizerError> {
    let older = ["tokenizer.model", "vocab.json", "spiece.model", "vocab.txt"];
    let instead = older.into_iter().find(|name| folder.join(name).exists());
    let none = TokenizerError::NotFound { folder: folder.to_owned(), instead };
    let entries = folder.read_dir().map_err(|source| TokenizerError::Io { path: folder.to_owned(), source })?;
    let mut ggufs =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "gguf"));
    match (ggufs.next(), ggufs.next(), instead) {
        (Some(only), None, None) => gguf::open(&only),
        _ => Err(none),
    }
}

/// A JSON file's object; empty when there is no such file.
fn object(folder: &Path, name: &str) -> Result<Map<String, Value>, TokenizerError> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| TokenizerError::Broken { path, reason: format!("not a JSON object: {error}") }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(source) => Err(TokenizerError::Io { path, source }),
    }
}

/// The text of a token that is written as a string or as an object with its `content`.
fn content(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// One number or a list of them.
fn numbers(value: Option<&Value>) -> Vec<u32> {
    let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    match value {
        Some(Value::Array(ids)) => ids.iter().filter_map(one).collect(),
        Some(id) => one(id).into_iter().collect(),
        None => Vec::new(),
    }
}

/// `chat_template.jinja` wins over `tokenizer_config.json`, as in transformers; of a list of named ones, `default`.
fn template(folder: &Path, config: &Map<String, Value>) -> Result<Option<TemplateSource>, TokenizerError> {
    let path = folder.join("chat_template.jinja");
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            return Ok(Some(TemplateSource { name: path.display().to_string(), text }));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(TokenizerError::Io { path, source }),
    }
    let text = match config.get("chat_template") {
        Some(Value::String(text)) => Some(text.as_str()),
        Some(Value::Array(named)) => named
            .iter()
            .find(|entry| entry.get("name").and_then(Value::as_str) == Some("default"))
            .or(named.first())
            .and_then(|entry| entry.get("template")?.as_str()),
        _ => None,
    };
    let name = format!("{} (chat_template)", folder.join("tokenizer_config.json").display());
    Ok(text.map(|text| TemplateSource { name, text: text.to_owned() }))
}
