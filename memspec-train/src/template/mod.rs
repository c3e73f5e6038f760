//! Chat templates: a conversation to the text that the model was trained on, as transformers renders it.

mod error;
mod python;

pub use error::TemplateError;

use minijinja::{Environment, context};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The steps that one rendering may take: far above any template's need, and the end of one that loops for ever.
const FUEL: u64 = 5_000_000;
const NAME: &str = "chat_template";

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    name: String,
    tokens: BTreeMap<&'static str, String>,
}

impl ChatTemplate {
    /// Compiles a template. `name` is its file, for messages; `tokens` are the variables `bos_token`, `eos_token` and so on.
    pub fn new(
        name: &str,
        text: &str,
        tokens: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        // as transformers sets jinja up
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(FUEL));
        python::add_to(&mut environment);
        environment
            .add_template_owned(NAME, python::without_generation_marks(text))
            .map_err(|error| TemplateError::new(name, "does not compile", &error))?;
        Ok(Self { environment, name: name.to_owned(), tokens: tokens.into_iter().collect() })
    }

    /// Reads and compiles a template from a file.
    pub fn from_file(
        path: &Path,
        tokens: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Result<Self, TemplateError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| TemplateError::Io { path: path.to_owned(), source })?;
        Self::new(&path.display().to_string(), &text, tokens)
    }

    /// The conversation's text. `add_generation_prompt`: end with what makes the assistant answer.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TemplateError> {
        let failed = |error: minijinja::Error| TemplateError::new(&self.name, "does not render", &error);
        let none = minijinja::Value::from(());
        let variables = context! {
            messages,
            add_generation_prompt,
            tools => none,
            documents => none,
            ..minijinja::Value::from_serialize(&self.tokens)
        };
        self.environment.get_template(NAME).and_then(|template| template.render(variables)).map_err(failed)
    }

    /// The file that the template stands in.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests;
