//! An adapter added to its base model's weights: a folder that every program loads without knowing of adapters.
//!
//! `W + s B A` is computed in f32 a few rows at a time and rounded once, to the type that the base is stored in, as PEFT's
//! `merge_and_unload` does; of a DoRA every row then gets the norm that was trained. A base that bitsandbytes packed becomes dense
//! (`merge/packed.rs`). Files stay as they are cut, everything but the adapted weights is copied byte for byte.

mod packed;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::checkpoint::{Change, Checkpoint, CheckpointError, RewriteError, WriteError};
use crate::peft::{AdaptedModule, Adapter, AdapterError, Part};

/// What was merged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Merged {
    /// The folder that was written.
    pub folder: PathBuf,
    /// Weights that the adapter changed.
    pub changed: usize,
    /// All tensors.
    pub tensors: usize,
    /// Bytes of all tensors.
    pub bytes: u64,
}

/// Why nothing was merged. No folder is left then.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The base's weights.
    #[error(transparent)]
    Base(#[from] CheckpointError),
    /// Reading or writing while it went on.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// The new folder.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A base that is no folder of safetensors files.
    #[error("{}: the base is not in safetensors files, and only such are merged; name the model's own folder, from its hub page, with `--base`", path.display())]
    NotSafetensors {
        /// The file.
        path: PathBuf,
    },
    /// A folder that holds something.
    #[error("{}: there is something here already; name a new folder with `--output`, or remove this one", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
}

/// Merges the adapter in the folder `adapter` into the model in the folder `base`. The result is written beside `output` and renamed.
/// `progress` is called with the bytes that are written.
///
/// # Errors
/// An adapter of another model, a base that is quantized otherwise than in bitsandbytes' NF4 or a GGUF file, a folder that cannot be written.
pub fn merge(base: &Path, adapter: &Path, output: &Path, progress: &mut dyn FnMut(u64)) -> Result<Merged, MergeError> {
    let source = Checkpoint::open(base)?;
    if let Some(path) = source.files().find(|path| path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gguf"))) {
        return Err(MergeError::NotSafetensors { path: path.to_owned() });
    }
    let mut update = Update::open(&source, adapter, progress)?;
    let is_packed = packed::is_packed(&source);
    if !is_packed {
        source.expect_changeable(&update)?;
    }

    let io = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| MergeError::Write(WriteError::new(&path, error))
    };
    match output.read_dir().map(|mut entries| entries.next().is_some()) {
        Ok(true) => return Err(MergeError::NotEmpty { path: output.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(MergeError::NotEmpty { path: output.to_owned() });
        }
        _ => {}
    }
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(io(parent))?;
    // Removed with all that is in it when it is dropped before its renaming.
    let name = output.file_name().unwrap_or_default().to_string_lossy();
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let unfinished = builder.prefix(&format!(".{name}.")).suffix(".part").tempdir_in(parent).map_err(io(parent))?;
    let (mut tensors, mut bytes) = (source.names().count(), source.stored_bytes());
    if is_packed {
        (tensors, bytes) = packed::write(&source, &unfinished.path().join("model.safetensors"), &mut update)?;
    } else {
        for (index, file) in source.files().enumerate() {
            let name = file_name(base, &source, file);
            source.rewrite(index, &unfinished.path().join(name), &mut update)?;
        }
    }
    if base.is_dir() {
        copy_others(base, unfinished.path())?;
    }
    if is_packed && base.is_dir() {
        packed::write_config(base, unfinished.path())?;
        // There is one file now.
        let _ = std::fs::remove_file(unfinished.path().join("model.safetensors.index.json"));
    }
    // Renaming over an empty folder is not possible everywhere.
    if output.exists() {
        std::fs::remove_dir(output).map_err(io(output))?;
    }
    std::fs::rename(unfinished.path(), output).map_err(io(output))?;
    // It is elsewhere now: nothing is left to remove.
    let _ = unfinished.keep();
    Ok(Merged { folder: output.to_owned(), changed: update.modules.len(), tensors, bytes })
}

/// A weights' file's name in the new folder: its own, which in Hugging Face's cache is that of the link and not of the blob.
fn file_name(base: &Path, source: &Checkpoint, file: &Path) -> PathBuf {
    let linked = std::fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_it = |path: &PathBuf| path.extension().is_some_and(|e| e == "safetensors");
    let same =
        linked.filter(is_it).find(|path| path.canonicalize().ok().as_deref() == file.canonicalize().ok().as_deref());
    let name = same.as_deref().unwrap_or(file).file_name().map(PathBuf::from);
    match name {
        Some(name) if source.files().count() > 1 || base.is_dir() => name,
        // one file that was named itself
        _ => PathBuf::from("model.safetensors"),
    }
}

/// Copies what else a model's folder has: configuration, tokenizer, the index of its files.
fn copy_others(base: &Path, to: &Path) -> Result<(), MergeError> {
    let read = |error| CheckpointError::Io { path: base.to_owned(), source: error };
    for entry in base.read_dir().map_err(read)? {
        let path = entry.map_err(read)?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        let hidden = name.to_string_lossy().starts_with('.');
        let weights = path.extension().is_some_and(|extension| {
            ["safetensors", "bin", "gguf", "pt", "pth", "h5", "msgpack", "onnx"].iter().any(|known| extension == *known)
        });
        if hidden || weights {
            continue;
        }
        let target = to.join(name);
        std::fs::copy(&path, &target).map_err(|error| WriteError::new(&target, error))?;
    }
    Ok(())
}

/// The tensors of an adapted module.
struct Current {
    /// Its weight's name.
    weight: String,
    a: Vec<f32>,
    b: Vec<f32>,
    /// The norms of the merged rows, of a DoRA.
    magnitude: Option<Vec<f32>>,
}

/// The adapter as a change of its base's weights.
struct Update<'a> {
    adapter: Adapter,
    modules: BTreeSet<String>,
    source: &'a Checkpoint,
    scale: f32,
    /// The module at hand.
    current: Option<Current>,
    written: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Update<'a> {
    /// Opens an adapter, whose every module must be one of the base's.
    fn open(source: &'a Checkpoint, folder: &Path, progress: &'a mut dyn FnMut(u64)) -> Result<Self, MergeError> {
        let adapter = Adapter::open(folder)?;
        adapter.expect_whole()?;
        let modules: BTreeSet<String> = adapter.modules().into_iter().collect();
        if let Some(module) = adapter.modules().into_iter().find(|module| !source.contains(&weight(module))) {
            return Err(AdapterError::OtherModel { folder: folder.to_owned(), module }.into());
        }
        let scale = adapter.config.scaling() as f32;
        let update = Self { adapter, modules, source, scale, current: None, written: 0, progress };
        for module in &update.modules {
            // Shapes, before anything is written.
            let module = update.sizes(module)?;
            update.adapter.expect(&module)?;
        }
        Ok(update)
    }

    fn sizes(&self, module: &str) -> Result<AdaptedModule, CheckpointError> {
        let packed = self.source.packed(&weight(module))?;
        let shape = match &packed {
            Some(packed) => &packed.shape[..],
            None => self.source.shape(&weight(module))?,
        };
        let (out_features, in_features) = (shape.first().copied(), shape.get(1).copied());
        Ok(AdaptedModule {
            module: module.to_owned(),
            in_features: in_features.unwrap_or(0),
            out_features: out_features.unwrap_or(0),
        })
    }

    fn module<'b>(&self, tensor: &'b str) -> Option<&'b str> {
        tensor.strip_suffix(".weight").filter(|module| self.modules.contains(*module))
    }
}

impl Change for Update<'_> {
    fn changes(&self, tensor: &str) -> bool {
        self.module(tensor).is_some()
    }

    fn rows(&mut self, tensor: &str, first: usize, columns: usize, values: &mut [f32]) -> Result<(), CheckpointError> {
        let Some(module) = self.module(tensor) else { return Ok(()) };
        if self.current.as_ref().is_none_or(|current| current.weight != tensor) {
            let module = self.sizes(module)?;
            let read = |part| self.adapter.read_values(&module, part);
            let magnitude = if self.adapter.config.use_dora { Some(read(Part::Magnitude)?) } else { None };
            self.current = Some(Current { weight: tensor.to_owned(), a: read(Part::A)?, b: read(Part::B)?, magnitude });
        }
        let Some(Current { a, b, magnitude, .. }) = &self.current else { return Ok(()) };
        let (rank, scale) = (self.adapter.config.r as usize, self.scale);
        let b = &b[first * rank..];
        values.par_chunks_mut(columns).zip(b.par_chunks(rank)).enumerate().for_each_init(
            || vec![0.0f32; columns],
            |update, (row, (values, b))| {
                update.fill(0.0);
                for (b, a) in b.iter().zip(a.chunks_exact(columns)) {
                    for (update, a) in update.iter_mut().zip(a) {
                        *update = b.mul_add(*a, *update);
                    }
                }
                for (value, update) in values.iter_mut().zip(update.iter()) {
                    *value += scale * *update;
                }
                if let Some(magnitude) = magnitude {
                    to_norm(values, magnitude[first + row]);
                }
            },
        );
        Ok(())
    }

    fn done(&mut self, tensor: &str) {
        self.current = None;
        self.written += self.source.bytes(tensor);
        (self.progress)(self.written);
    }
}

/// Scales a row to this norm; one of zeros stays so.
fn to_norm(row: &mut [f32], magnitude: f32) {
    let square: f64 = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    if square > 0.0 {
        let factor = magnitude / square.sqrt() as f32;
        row.iter_mut().for_each(|value| *value *= factor);
    }
}

fn weight(module: &str) -> String {
    format!("{module}.weight")
}
