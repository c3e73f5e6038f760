//! What can be wrong with a chat template.

use std::io;
use std::path::PathBuf;

/// Why a conversation could not be rendered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The model has no chat template.
    #[error(
        "{model}: the model has no chat template (a base model has none); set `template` in `data` to a .jinja file, or use `format = text`"
    )]
    None {
        /// The model's tokenizer.
        model: String,
    },
    /// The file cannot be read.
    #[error("{}: {source}; check that the template exists and is UTF-8", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The template does not compile, or refuses these messages.
    #[error("{name}{}: the chat template {what}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template {
        /// The template's file.
        name: String,
        /// The line in the template.
        line: Option<usize>,
        /// What went wrong, in two words.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

impl TemplateError {
    pub(super) fn new(name: &str, what: &'static str, error: &minijinja::Error) -> Self {
        let mut reason = match error.detail() {
            Some(detail) => detail.to_owned(),
            None => error.kind().to_string(),
        };
        if matches!(error.kind(), minijinja::ErrorKind::OutOfFuel) {
            reason = "it does not end".to_owned();
        }
        Self::Template { name: name.to_owned(), line: error.line(), what, reason }
    }
}
