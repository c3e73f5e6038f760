//! Reading a plan's file, whatever it is written in.

use std::fs;
use std::path::Path;

use super::{Document, Problem, Source};

/// Reads a plan file: `.mem`, `.yaml`, `.yml` or `.json`.
///
/// Nothing is returned early: a file that cannot be read is a document with one problem.
pub fn read(path: impl AsRef<Path>) -> Document {
    let path = path.as_ref();
    let name = path.display().to_string();
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => read_text(name, text),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let mut document = read_text(name, text);
                let problem = Problem::new("not-utf8", at..at + 3, "the file is not UTF-8 text")
                    .label("from here")
                    .help("save it as UTF-8");
                // What else is wrong comes from the bytes that are no text.
                document.problems = vec![problem];
                document
            }
        },
        Err(error) => {
            let problem = Problem::new("unreadable-file", 0..0, format!("cannot read `{name}`: {error}"));
            Document { source: Source { name, text: String::new() }, problems: vec![problem], ..Default::default() }
        }
    }
}

/// Reads a plan from a text; the extension of `name` says what it is written in.
pub fn read_text(name: impl Into<String>, text: impl Into<String>) -> Document {
    let source = Source { name: name.into(), text: text.into() };
    let extension =
        Path::new(&source.name).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let mut document = match extension.as_deref() {
        #[cfg(feature = "lang")]
        Some("mem") => crate::lang::read(source),
        #[cfg(feature = "yaml")]
        Some("yaml" | "yml" | "json") => crate::exchange::yaml::read(source),
        _ => {
            let problem = Problem::new("unknown-file", 0..0, format!("`{}` is not a plan file", source.name))
                .help("plans are .mem, .yaml, .yml or .json files");
            Document { source, problems: vec![problem], ..Default::default() }
        }
    };
    document.problems.sort_by_key(|problem| problem.span.start);
    document
}
