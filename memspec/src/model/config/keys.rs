//! Typed access to the keys of one JSON object, with errors that name the key.

use serde_json::{Map, Value};

use super::ConfigError;

/// One object of a config, and the one that its absent keys are looked up in.
#[derive(Clone)]
pub(super) struct Keys<'a> {
    own: &'a Map<String, Value>,
    outer: Option<&'a Map<String, Value>>,
    prefix: &'static str,
    pub(super) model_type: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(own: &'a Map<String, Value>, prefix: &'static str, model_type: &'a str) -> Keys<'a> {
        Keys { own, outer: None, prefix, model_type }
    }

    /// These keys, and those of `outer` where these are absent.
    pub(super) fn or(mut self, outer: &Keys<'a>) -> Keys<'a> {
        self.outer = Some(outer.own);
        self
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        let named = |key: &str| self.own.get(key).or_else(|| self.outer.and_then(|o| o.get(key)));
        named(key).or_else(|| alias(self.model_type, key).and_then(named)).filter(|v| !v.is_null())
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    pub(super) fn is_null(&self, key: &str) -> bool {
        self.own.get(key).is_some_and(Value::is_null)
    }

    pub(super) fn object(&self, key: &'static str) -> Result<Option<Keys<'a>>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Keys::new(map, key, self.model_type))),
            Some(_) => Err(self.wrong_type(key, "an object")),
        }
    }

    pub(super) fn list(&self, key: &str) -> Option<&'a Vec<Value>> {
        self.get(key).and_then(Value::as_array)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong_type(key, "a string")),
        }
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(self.wrong_type(key, "true or false")),
        }
    }

    pub(super) fn count(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        // Python writes some counts as 4.0
        let whole = value.as_f64().filter(|f| f.fract() == 0.0 && (0.0..9e15).contains(f)).map(|f| f as u64);
        match value.as_u64().or(whole) {
            Some(count) => Ok(Some(count)),
            None => Err(self.wrong_type(key, "a whole number that is not negative")),
        }
    }

    /// The count, `default` where the key is absent, nothing where it is null.
    pub(super) fn count_or(&self, key: &str, default: Option<u64>) -> Result<Option<u64>, ConfigError> {
        if self.is_null(key) { Ok(None) } else { Ok(self.count(key)?.or(default)) }
    }

    pub(super) fn need(&self, key: &str) -> Result<u64, ConfigError> {
        self.count(key)?.ok_or_else(|| self.missing(key))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, ConfigError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong_type(key, "a number")),
        }
    }

    /// The number, `default` where the key is absent, nothing where it is null.
    pub(super) fn number_or(&self, key: &str, default: Option<f64>) -> Result<Option<f64>, ConfigError> {
        if self.is_null(key) { Ok(None) } else { Ok(self.number(key)?.or(default)) }
    }

    fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() { key.to_owned() } else { format!("{}.{key}", self.prefix) }
    }

    pub(super) fn wrong_type(&self, key: &str, expected: &'static str) -> ConfigError {
        let mut value = self.get(key).map(Value::to_string).unwrap_or_default();
        if value.chars().count() > 40 {
            value = value.chars().take(40).collect::<String>() + "...";
        }
        ConfigError::WrongType { key: self.path(key), value, expected }
    }

    pub(super) fn missing(&self, key: &str) -> ConfigError {
        ConfigError::Missing { key: self.path(key), model_type: self.model_type.to_owned() }
    }

    pub(super) fn unsupported(&self, why: impl Into<String>) -> ConfigError {
        ConfigError::Unsupported { model_type: self.model_type.to_owned(), why: why.into() }
    }
}

/// The name that an older family gives a key (`attribute_map` of its config class).
fn alias(model_type: &str, key: &str) -> Option<&'static str> {
    Some(match (model_type, key) {
        ("gpt2" | "gptj", "hidden_size") => "n_embd",
        ("gpt2" | "gptj", "num_hidden_layers") => "n_layer",
        ("gpt2" | "gptj", "num_attention_heads") => "n_head",
        ("gpt2" | "gptj", "intermediate_size") => "n_inner",
        ("gpt2" | "gptj", "max_position_embeddings") => "n_positions",
        ("gpt2" | "gptj", "hidden_act") => "activation_function",
        ("mpt" | "dbrx", "hidden_size") => "d_model",
        ("mpt" | "dbrx", "num_hidden_layers") => "n_layers",
        ("mpt" | "dbrx", "num_attention_heads") => "n_heads",
        ("mpt" | "dbrx", "max_position_embeddings") => "max_seq_len",
        ("qwen", "max_position_embeddings") => "seq_length",
        ("gpt_neox", "partial_rotary_factor") => "rotary_pct",
        ("gpt_neox", "rope_theta") => "rotary_emb_base",
        ("qwen", "rope_theta") => "rotary_emb_base",
        _ => return None,
    })
}
