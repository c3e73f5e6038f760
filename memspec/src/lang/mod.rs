//! The `.mem` language.
use crate::plan::{Document, Source};
/// Reads the plans of a `.mem` text.
pub fn read(source: Source) -> Document {
    Document {
        source,
        ..Default::default()
    }
}
