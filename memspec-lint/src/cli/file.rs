//! Reading, writing and comparing a plan's file.

use std::fs;
use std::path::Path;

use super::Failure;
use crate::output::Style;

/// The file's text.
pub(super) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| {
        Failure::new(format_args!("cannot read `{}`: {error}", path.display()), "it has to be a file of UTF-8 text")
    })
}

/// The text of a file in which other bytes may be: a log has what a program printed.
pub(super) fn read_lossy(path: &Path) -> Result<String, Failure> {
    let bytes = fs::read(path)
        .map_err(|error| Failure::new(format_args!("cannot read `{}`: {error}", path.display()), "check the path"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a file that may not be there yet.
pub(super) fn create(path: &Path, text: &str) -> Result<(), Failure> {
    if path.exists() {
        return write(path, text);
    }
    replace(path, text, None)
        .map_err(|error| Failure::new(format_args!("cannot write `{}`: {error}", path.display()), "check its folder"))
}

/// Writes a file that is there.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    // A link stays one: what it points to is replaced.
    let replaced = fs::canonicalize(path).and_then(|path| {
        let permissions = fs::metadata(&path)?.permissions();
        replace(&path, text, Some(permissions))
    });
    replaced.map_err(|error| {
        Failure::new(
            format_args!("cannot write `{}`: {error}", path.display()),
            "what was there is as it was; check its folder's permissions and the disk",
        )
    })
}

/// Writes beside the file and renames, so that a file is never half written.
fn replace(path: &Path, text: &str, permissions: Option<fs::Permissions>) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, text)
        .and_then(|()| permissions.map_or(Ok(()), |permissions| fs::set_permissions(&beside, permissions)))
        .and_then(|()| fs::rename(&beside, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}

/// The changes of a file as a unified diff; empty where there are none.
pub(super) fn diff(name: &str, before: &str, after: &str, style: Style) -> String {
    if before == after {
        return String::new();
    }
    let diff = similar::TextDiff::from_lines(before, after);
    let text = diff.unified_diff().context_radius(2).header(name, name).to_string();
    let paint = |line: &str| match line.as_bytes().first() {
        Some(b'+') => style.good(line),
        Some(b'-') => style.bad(line),
        Some(b'@') => style.faint(line),
        _ => line.to_owned(),
    };
    text.lines().map(|line| paint(line) + "\n").collect()
}
