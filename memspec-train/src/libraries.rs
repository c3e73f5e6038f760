//! NVIDIA's libraries, found and opened at run time: a binary with the feature `cuda` starts on a machine that has none of them.
//!
//! [`find`] is a function of folders, so that it is tested without a GPU. [`Folders::of_process`] says which folders count:
//! `CUDA_PATH` and the loader's path first, then the usual places, then the `nvidia-*` packages of the Python on PATH.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// A library that a run on CUDA needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// The driver's own.
    Driver,
    /// The compiler of CUDA C++.
    Nvrtc,
    /// Matrix products.
    CublasLt,
}

impl Library {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Driver, Self::Nvrtc, Self::CublasLt];

    /// File names to look for, the newest version first.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Driver => &["libcuda.so.1", "libcuda.so"],
            Self::Nvrtc => &["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"],
            Self::CublasLt => &["libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"],
        }
    }

    /// How to get it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Driver => "it comes with NVIDIA's driver: install that (in a container, start it with the GPU)",
            Self::Nvrtc => {
                "install the CUDA toolkit 12 or 13 and set CUDA_PATH to it, or `pip install nvidia-cuda-nvrtc`"
            }
            Self::CublasLt => {
                "install the CUDA toolkit 12 or 13 and set CUDA_PATH to it, or `pip install nvidia-cublas`"
            }
        }
    }
}

impl fmt::Display for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Driver => "libcuda",
            Self::Nvrtc => "NVRTC",
            Self::CublasLt => "cuBLASLt",
        })
    }
}

/// A library that is in none of the folders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{library} ({}) is not in any of: {}; {}",
    .library.names().join(", "),
    .looked.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", "),
    .library.advice()
)]
pub struct Missing {
    /// Which.
    pub library: Library,
    /// Where it was looked for.
    pub looked: Vec<PathBuf>,
}

/// Where libraries are looked for.
#[derive(Clone, Debug, Default)]
pub struct Folders {
    /// `CUDA_PATH` or `CUDA_HOME`.
    pub toolkit: Option<PathBuf>,
    /// `LD_LIBRARY_PATH`.
    pub loader: Vec<PathBuf>,
    /// Where distributions and containers put them.
    pub usual: Vec<PathBuf>,
    /// The Python on PATH and the active environment: their folders, which hold `bin/` and `lib/`.
    pub python: Vec<PathBuf>,
}

/// The folders of a driver or toolkit that was installed the usual way.
const USUAL: &[&str] = &[
    "/usr/local/cuda/lib64",
    "/usr/local/nvidia/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/opt/cuda/lib64",
];

impl Folders {
    /// Those of this process's environment.
    pub fn of_process() -> Self {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let list = |name: &str| env::var_os(name).map(|value| env::split_paths(&value).collect()).unwrap_or_default();
        let on_path: Vec<PathBuf> = list("PATH");
        let python = on_path.iter().find(|folder| folder.join("python3").exists());
        let python = python.and_then(|bin| bin.parent()).map(Path::to_owned);
        Self {
            toolkit: path("CUDA_PATH").or_else(|| path("CUDA_HOME")),
            loader: list("LD_LIBRARY_PATH"),
            usual: USUAL.iter().map(PathBuf::from).collect(),
            python: path("VIRTUAL_ENV").into_iter().chain(python).collect(),
        }
    }

    /// All folders, in the order in which they count.
    pub fn all(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        if let Some(toolkit) = &self.toolkit {
            all.extend(["lib64", "lib", "targets/x86_64-linux/lib"].map(|folder| toolkit.join(folder)));
        }
        all.extend(self.loader.iter().filter(|folder| !folder.as_os_str().is_empty()).cloned());
        all.extend(self.usual.iter().cloned());
        for python in &self.python {
            all.extend(packages(python));
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|folder| seen.insert(folder.clone()));
        all
    }
}

/// `lib/python*/site-packages/nvidia/*/lib` of a Python.
fn packages(python: &Path) -> Vec<PathBuf> {
    let pythons = children(&python.join("lib"))
        .into_iter()
        .filter(|folder| folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python")));
    let nvidia = pythons.flat_map(|folder| children(&folder.join("site-packages/nvidia")));
    nvidia.map(|package| package.join("lib")).filter(|folder| folder.is_dir()).collect()
}

/// What is in a folder, sorted; nothing where there is none.
fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

/// The file of a library: the first folder that has it under any of its names.
///
/// # Errors
/// None has it: the error says where it was looked for, and how to get it.
pub fn find(library: Library, folders: &Folders) -> Result<PathBuf, Missing> {
    let looked = folders.all();
    let found = looked
        .iter()
        .flat_map(|folder| library.names().iter().map(move |name| folder.join(name)))
        .find(|file| file.is_file());
    found.ok_or(Missing { library, looked })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn put(file: &Path) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }

    #[test]
    fn the_toolkit_goes_before_the_loader_and_that_before_python() {
        let root = tempfile::tempdir().unwrap();
        let (toolkit, loader, python) =
            (root.path().join("cuda"), root.path().join("loader"), root.path().join("venv"));
        let folders = Folders {
            toolkit: Some(toolkit.clone()),
            loader: vec![loader.clone()],
            usual: vec![],
            python: vec![python.clone()],
        };
        let in_python = python.join("lib/python3.12/site-packages/nvidia/cu13/lib/libnvrtc.so.13");
        put(&in_python);
        assert_eq!(find(Library::Nvrtc, &folders).unwrap(), in_python);
        put(&loader.join("libnvrtc.so.12"));
        assert_eq!(find(Library::Nvrtc, &folders).unwrap(), loader.join("libnvrtc.so.12"));
        put(&toolkit.join("lib64/libnvrtc.so"));
        assert_eq!(find(Library::Nvrtc, &folders).unwrap(), toolkit.join("lib64/libnvrtc.so"));
        put(&toolkit.join("lib64/libnvrtc.so.13"));
        assert_eq!(find(Library::Nvrtc, &folders).unwrap(), toolkit.join("lib64/libnvrtc.so.13"), "newest first");
    }

    #[test]
    fn what_is_missing_is_named_with_where_it_was_looked_for() {
        let folders = Folders { usual: vec![PathBuf::from("/nowhere/lib64")], ..Folders::default() };
        let missing = find(Library::CublasLt, &folders).unwrap_err().to_string();
        for part in ["cuBLASLt", "libcublasLt.so.13", "/nowhere/lib64", "nvidia-cublas"] {
            assert!(missing.contains(part), "{missing}");
        }
    }
}
