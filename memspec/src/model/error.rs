//! What can go wrong between a model's name and its `Architecture`.

use std::path::PathBuf;

use super::config::ConfigError;
use super::gguf::GgufError;

/// Why a model was not found or not understood. Messages say what, where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A path that is not there.
    #[error("no such folder or file: {}", path.display())]
    NoSuchPath {
        /// The path, resolved against the plan's folder.
        path: PathBuf,
    },
    /// A folder without `config.json`.
    #[error("{} has no config.json; give a folder as `save_pretrained` writes it, or a .gguf file", folder.display())]
    NoConfig {
        /// The folder.
        folder: PathBuf,
    },
    /// A file that is no model.
    #[error("{} is neither a folder with config.json nor a .gguf file", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
    },
    /// A name that neither the local Hugging Face cache nor the catalog has.
    #[error(
        "model `{name}` is neither in the local Hugging Face cache nor in memspec's catalog{}; give a folder with its config.json",
        did_you_mean(nearest)
    )]
    Unknown {
        /// The name as given.
        name: String,
        /// Known names that look like it, the nearest first.
        nearest: Vec<String>,
    },
    /// A file that could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A `config.json` that is not understood.
    #[error("{}: {error}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: ConfigError,
    },
    /// A GGUF file that is not understood.
    #[error("{}: {error}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: GgufError,
    },
}

fn did_you_mean(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!(" (nearest: {})", names.join(", ")),
    }
}
