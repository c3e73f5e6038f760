//! GGUF.

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
#[error("todo")]
pub struct GgufError;

/// Header.
pub struct Header {}
