//! The tokenizer's files for an output folder.

use super::{Tokenizer, TokenizerError};
use crate::checkpoint::write_atomically;
use serde_json::{Map, Value, json};
use std::path::Path;

pub(super) fn files(tokenizer: &Tokenizer, folder: &Path) -> Result<(), TokenizerError> {
    let path = folder.join("tokenizer.json");
    let mut whole = tokenizer.inner.clone();
    whole.with_post_processor(tokenizer.post_processor.clone());
    let text = whole
        .to_string(true)
        .map_err(|error| TokenizerError::Broken { path: path.clone(), reason: error.to_string() })?;
    drop(whole);
    write_atomically(&path, |out| out.write_all(text.as_bytes()))?;
    drop(text);

    let mut config = tokenizer.config.clone();
    if let Some(template) = &tokenizer.template {
        config.insert("chat_template".to_owned(), template.text.clone().into());
    }
    let tokens = [("bos_token", tokenizer.bos), ("eos_token", tokenizer.eos), ("pad_token", tokenizer.pad)];
    let mut special = Map::new();
    for (key, id) in tokens {
        if let Some(token) = id.and_then(|id| tokenizer.inner.id_to_token(id)) {
            config.entry(key).or_insert_with(|| json!(token));
            special.insert(key.to_owned(), json!(token));
        }
    }
    config.entry("tokenizer_class").or_insert_with(|| json!("PreTrainedTokenizerFast"));
    write_json(&folder.join("tokenizer_config.json"), &Value::Object(config))?;
    write_json(&folder.join("special_tokens_map.json"), &Value::Object(special))
}

fn write_json(path: &Path, value: &Value) -> Result<(), TokenizerError> {
    write_atomically(path, |out| {
        serde_json::to_writer_pretty(&mut *out, value)?;
        out.write_all(b"\n")
    })?;
    Ok(())
}
