//! A record's length in tokens: by the model's tokenizer, in its chat template's words.

use std::path::Path;

use minijinja::{Environment, ErrorKind, context};
use serde_json::Value;

use super::records::Record;

/// The steps that one rendering may take: far above any template's need, and the end of one that loops for ever.
const FUEL: u64 = 5_000_000;
const NAME: &str = "chat_template";

/// Counts the tokens of records.
pub(super) struct Encoder {
    tokenizer: tokenizers::Tokenizer,
    /// With the variables that the template sees: `bos_token`, `eos_token`.
    template: Option<(Environment<'static>, [Option<String>; 2])>,
    /// Tokens that a text without a template gets before and behind it.
    around: u64,
}

impl Encoder {
    /// Of the text of `tokenizer.json`, of `tokenizer_config.json` (empty: none) and of a chat template.
    pub(super) fn new(tokenizer: &[u8], config: &[u8], template: Option<&str>) -> Result<Self, String> {
        let unusable = |error| format!("`tokenizer.json` is not understood: {error}");
        let mut tokenizer = tokenizers::Tokenizer::from_bytes(tokenizer).map_err(unusable)?;
        // a file may carry the truncation of its author's last run
        tokenizer.with_truncation(None).map_err(unusable)?;
        tokenizer.with_padding(None);
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        let special = |name: &str| {
            let token = config.get(name)?;
            token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
        };
        let (bos, eos) = (special("bos_token"), special("eos_token"));
        // what the tokenizer puts around a text by itself, and the end of text that is trained behind it
        let added = tokenizer.encode_fast("", true).map_err(unusable)?.get_ids().to_vec();
        let end = eos.as_deref().and_then(|eos| tokenizer.token_to_id(eos));
        let around = added.len() as u64 + u64::from(end.is_some_and(|end| added.last() != Some(&end)));
        let template = match template {
            Some(text) => Some((compiled(text)?, [bos, eos])),
            None => None,
        };
        Ok(Self { tokenizer, template, around })
    }

    /// Tokens of a record, or why the chat template does not render it.
    pub(super) fn length(&self, record: &Record) -> Result<u64, String> {
        let turn = |role: &str, words: &str| (role.to_owned(), words.to_owned());
        match (record, &self.template) {
            (Record::Text(text), _) => Ok(self.tokens(text)? + self.around),
            (Record::Chat(turns), Some(_)) => self.tokens(&self.rendered(turns)?),
            (Record::Chat(_), None) => {
                Err("a conversation, and the model has no chat template: give `data.template`".to_owned())
            }
            (Record::Instruction(question, answer), Some(_)) => {
                self.tokens(&self.rendered(&[turn("user", question), turn("assistant", answer)])?)
            }
            (Record::Instruction(question, answer), None) => {
                Ok(self.tokens(&format!("{question}{answer}"))? + self.around)
            }
        }
    }

    fn tokens(&self, text: &str) -> Result<u64, String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|error| error.to_string())?;
        Ok(encoding.len() as u64)
    }

    fn rendered(&self, turns: &[(String, String)]) -> Result<String, String> {
        let (environment, [bos, eos]) = self.template.as_ref().ok_or("the model has no chat template")?;
        let messages: Vec<_> = turns.iter().map(|(role, content)| context! { role, content }).collect();
        let none = minijinja::Value::from(());
        let variables = context! {
            messages,
            add_generation_prompt => false,
            tools => none,
            documents => none,
            bos_token => bos.as_deref().unwrap_or_default(),
            eos_token => eos.as_deref().unwrap_or_default(),
        };
        let rendered = environment.get_template(NAME).and_then(|template| template.render(variables));
        rendered.map_err(|error| format!("the chat template does not take it: {error}"))
    }
}

/// A chat template, in the surroundings that transformers gives it.
fn compiled(text: &str) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
        Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
    });
    // a date is as long as another one
    environment.add_function("strftime_now", |_format: String| "26 Jul 2024".to_owned());
    let added = environment.add_template_owned(NAME, text.to_owned());
    added.map_err(|error| format!("the chat template is not understood: {error}"))?;
    Ok(environment)
}

/// The text of the template that the plan names, or of the model's own; `None`: there is none.
///
/// # Errors
/// The template that the plan names cannot be read.
pub(super) fn template(model: &Path, named: Option<&Path>) -> Result<Option<String>, String> {
    if let Some(file) = named {
        let text = std::fs::read_to_string(file);
        return text.map(Some).map_err(|error| format!("`{}` cannot be read: {error}", file.display()));
    }
    if let Ok(text) = std::fs::read_to_string(model.join("chat_template.jinja")) {
        return Ok(Some(text));
    }
    let config = std::fs::read(model.join("tokenizer_config.json")).unwrap_or_default();
    let config: Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(match config.get("chat_template") {
        Some(Value::String(text)) => Some(text.clone()),
        Some(Value::Array(named)) => {
            let default = |entry: &&Value| entry.get("name").and_then(Value::as_str) == Some("default");
            let entry = named.iter().find(default).or(named.first());
            entry.and_then(|entry| entry.get("template")?.as_str()).map(str::to_owned)
        }
        _ => None,
    })
}
