//! Plans written as YAML or JSON.
use crate::plan::{Document, Source};
/// Reads the plans of a YAML or JSON text.
pub fn read(source: Source) -> Document {
    Document {
        source,
        ..Default::default()
    }
}
