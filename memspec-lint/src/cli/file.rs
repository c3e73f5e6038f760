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
    fs::write(path, text)
        .map_err(|error| Failure::new(format_args!("cannot write `{}`: {error}", path.display()), "check its folder"))
}

/// Writes beside the file and renames, so that a file is never half written.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(
            format_args!("cannot write `{}`: {error}", path.display()),
            "the file is as it was; check its folder's permissions and the disk",
        )
    };
    // A link stays one: what it points to is replaced.
    let path = fs::canonicalize(path).map_err(cannot)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = fs::write(&beside, text)
        .and_then(|()| fs::set_permissions(&beside, fs::metadata(&path)?.permissions()))
        .and_then(|()| fs::rename(&beside, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&beside);
        cannot(error)
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
