//! Running the command.

use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// What the command printed and ended with.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Runs the command in a folder, without this machine's models and cards.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Ran {
    run_with(folder, arguments, "")
}

/// The same with a text on its standard input.
pub(crate) fn run_with(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_memspec-lint"))
        .current_dir(folder)
        .env("HF_HOME", folder.join("no-cache"))
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .env("CUDA_VISIBLE_DEVICES", "")
        .env_remove("HF_HUB_CACHE")
        .env_remove("COLUMNS")
        .write_stdin(input)
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}
