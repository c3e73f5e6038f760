//! GGUF files.
use super::{CheckpointError, DataFile, Tensor};
use std::path::Path;
/// error
#[derive(Debug, thiserror::Error)]
#[error("gguf")]
pub struct GgufError;
/// metadata
pub(crate) struct Metadata;
pub(super) fn open(path: &Path) -> Result<(Vec<DataFile>, Vec<Tensor>), CheckpointError> {
    Err(CheckpointError::Header { path: path.to_owned(), reason: "GGUF: not yet".into() })
}
