//! Reading a job's keys: each with its default, its limits, and a name for every mistake.

use serde_json::{Map, Value};

use crate::model::nearest;

/// Why a job is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It is not an object.
    #[error("a job is an object such as {{\"model\": \"llama3-8b\", \"quant\": \"nf4\"}}, not {0}")]
    NotAnObject(String),
    /// A key that no job has.
    #[error("`{key}` is no key of a job, whose keys are {}{}", known.join(", "), did_you_mean(nearest.as_deref()))]
    UnknownKey {
        /// The key.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
        /// Every key.
        known: &'static [&'static str],
    },
    /// A value that a key cannot have.
    #[error("`{key}` is {value}; it takes {allowed}{}", did_you_mean(nearest.as_deref()))]
    Value {
        /// The key.
        key: String,
        /// The value, as JSON.
        value: String,
        /// What the key takes.
        allowed: String,
        /// The word that looks most like it.
        nearest: Option<String>,
    },
    /// A key that the others need.
    #[error("`{key}` is missing: {why}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What needs it.
        why: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// A value as JSON, cut when it is long.
pub(super) fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text,
    }
}

/// A job's keys.
pub(super) struct Fields<'a>(pub(super) &'a Map<String, Value>);

impl Fields<'_> {
    /// Refuses keys that no job has.
    pub(super) fn check(&self, known: &'static [&'static str]) -> Result<(), JobError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(JobError::UnknownKey {
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()).into_iter().next(),
                known,
            }),
        }
    }

    /// The value of a key; `null` is as if it was not there.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(&self, key: &str, default: u64, least: u64, most: u64) -> Result<u64, JobError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let whole = |number: &f64| number.fract() == 0.0 && (0.0..=9.0e15).contains(number);
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(whole).map(|number| number as u64))
            .filter(|count| (least..=most).contains(count))
            .ok_or_else(|| refuse(key, value, format!("a whole number from {least} to {most}")))
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool, JobError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.as_bool().ok_or_else(|| refuse(key, value, "true or false".to_owned()))
    }

    /// A number above 0.
    pub(super) fn positive(&self, key: &str) -> Result<Option<f64>, JobError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = value.as_f64().filter(|number| *number > 0.0);
        number.map(Some).ok_or_else(|| refuse(key, value, "a number above 0".to_owned()))
    }

    /// A number from `least` to `most`.
    pub(super) fn number(&self, key: &str, default: f64, least: f64, most: f64) -> Result<f64, JobError> {
        let Some(value) = self.get(key) else { return Ok(default) };
        let number = value.as_f64().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| refuse(key, value, format!("a number from {least} to {most}")))
    }

    /// Names.
    pub(super) fn list(&self, key: &str) -> Result<Vec<String>, JobError> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let names: Option<Vec<String>> =
            value.as_array().and_then(|all| all.iter().map(|name| name.as_str().map(str::to_owned)).collect());
        names.ok_or_else(|| refuse(key, value, "a list of names".to_owned()))
    }

    /// Text.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>, JobError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| refuse(key, value, "text".to_owned()))
    }

    /// One of `words`, by default the first; `true` and `false` are words, too, where the table has them.
    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<T, JobError> {
        let found = match self.get(key) {
            None => words.first().map(|(_, meaning)| *meaning),
            Some(value) => {
                let written = match value {
                    Value::Bool(flag) => Some(if *flag { "true" } else { "false" }),
                    Value::String(text) if !matches!(text.as_str(), "true" | "false") => Some(text.as_str()),
                    _ => None,
                };
                words.iter().find(|(word, _)| Some(*word) == written).map(|(_, meaning)| *meaning)
            }
        };
        found.ok_or_else(|| {
            let value = self.get(key).unwrap_or(&Value::Null);
            let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            JobError::Value {
                key: key.to_owned(),
                value: shown(value),
                allowed: names.join(", "),
                nearest: value.as_str().and_then(|text| nearest(text, names).into_iter().next()),
            }
        })
    }
}

/// A value that a key cannot have.
pub(super) fn refuse(key: &str, value: &Value, allowed: String) -> JobError {
    JobError::Value { key: key.to_owned(), value: shown(value), allowed, nearest: None }
}
