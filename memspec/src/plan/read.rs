//! Reading a plan's file, whatever it is written in.

use std::fs;
use std::path::{Path, PathBuf};

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
    read_text_among(name, text, &|_| None)
}

/// The same among texts that go before what is on disk, as an editor has them: a file that is imported is looked for there first,
/// by its [`real_path`].
#[cfg_attr(not(feature = "lang"), allow(unused_variables, reason = "only `.mem` files import"))]
pub fn read_text_among(
    name: impl Into<String>,
    text: impl Into<String>,
    texts: &dyn Fn(&Path) -> Option<String>,
) -> Document {
    let source = Source { name: name.into(), text: text.into() };
    let extension =
        Path::new(&source.name).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    let mut document = match extension.as_deref() {
        #[cfg(feature = "lang")]
        Some("mem") => crate::lang::read_among(source, texts),
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

/// A file's path without links, as [`Document::imports`] has it. Only its folder has to be there.
pub fn real_path(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?)))
}
