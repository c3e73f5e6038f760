//! Other trainers' example files.

use std::path::{Path, PathBuf};

/// The YAML files of a trainer's package that are below a folder `examples`, by name.
///
/// # Errors
/// A folder that cannot be read.
pub(crate) fn examples(package: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    find(package, &mut files)?;
    files.retain(|path| path.components().any(|part| part.as_os_str() == "examples"));
    files.sort();
    Ok(files)
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}
