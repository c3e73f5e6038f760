//! What can be wrong with a model's tokenizer.

use crate::checkpoint::{CheckpointError, WriteError};
use std::io;
use std::path::PathBuf;

/// Why a tokenizer cannot be opened, used or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// No tokenizer in the model's folder.
    #[error("{}: no tokenizer here: looked for tokenizer.json{}", folder.display(), match instead {
        Some(file) => format!(" and found only {file}, which is an older form; save it again in Python: \
            AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"),
        None => " (beside tokenizer_config.json), then for one .gguf file; copy tokenizer.json and \
            tokenizer_config.json from the model's hub page".to_owned(),
    })]
    NotFound {
        /// The folder.
        folder: PathBuf,
        /// A file of an older form that is there.
        instead: Option<&'static str>,
    },
    /// A file could not be read.
    #[error("{}: {source}; check that the file exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file is there and makes no sense.
    #[error("{}: {reason}; fetch the file again", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A GGUF file whose tokenizer is of a kind not known here.
    #[error("{}: the tokenizer is of the kind `{kind}`, known are {known}; use the model's folder with its tokenizer.json", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
        /// Its `tokenizer.ggml.model` or `tokenizer.ggml.pre`.
        kind: String,
        /// The kinds that are known.
        known: &'static str,
    },
    /// The GGUF file itself.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A text has a part that no token stands for.
    #[error("the tokenizer cannot encode this text: {reason}")]
    Encode {
        /// The tokenizer's reason.
        reason: String,
    },
    /// Tokens that are none of this tokenizer's.
    #[error("the tokenizer cannot decode these tokens: {reason}")]
    Decode {
        /// The tokenizer's reason.
        reason: String,
    },
    /// The tokenizer could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}
