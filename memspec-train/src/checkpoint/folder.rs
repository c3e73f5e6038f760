//! Which files of a folder hold the weights, and that they are the folder's own.

use super::{CheckpointError, DataFile, Tensor, gguf, safetensors};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// An index is a list of names; one of this size is not.
const MOST_INDEX_BYTES: u64 = 64 << 20;

pub(super) fn open(path: &Path) -> Result<(Vec<DataFile>, Vec<Tensor>), CheckpointError> {
    if !path.is_dir() {
        return match path.extension().and_then(|e| e.to_str()) {
            Some("gguf") => gguf::open(path),
            _ => single(path),
        };
    }
    if path.join(INDEX).exists() {
        return sharded(path);
    }
    if path.join(WEIGHTS).exists() {
        return single(&inside(path, path, WEIGHTS)?);
    }
    let mut ggufs = files_ending(path, "gguf")?;
    match (ggufs.pop(), ggufs.is_empty()) {
        (Some(only), true) => gguf::open(&only),
        (Some(_), false) => Err(no_weights(path, "there are several .gguf files: name one of them")),
        (None, _) if !files_ending(path, "bin")?.is_empty() => Err(no_weights(
            path,
            "the .bin files here are pickles, which can run code when loaded: save the model again with safe_serialization",
        )),
        (None, _) => Err(no_weights(path, "give the folder that the model was saved to, or a .gguf file")),
    }
}

fn no_weights(path: &Path, help: &'static str) -> CheckpointError {
    let looked_for = "model.safetensors, model.safetensors.index.json, *.gguf";
    CheckpointError::NoWeights { path: path.to_owned(), looked_for, help }
}

fn files_ending(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut found = Vec::new();
    for entry in folder.read_dir().map_err(CheckpointError::io(folder))? {
        let path = entry.map_err(CheckpointError::io(folder))?.path();
        if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

fn single(path: &Path) -> Result<(Vec<DataFile>, Vec<Tensor>), CheckpointError> {
    let file = DataFile::open(path)?;
    let tensors = safetensors::tensors(&file, 0)?;
    Ok((vec![file], tensors))
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn sharded(folder: &Path) -> Result<(Vec<DataFile>, Vec<Tensor>), CheckpointError> {
    let index_path = inside(folder, &folder.join(INDEX), INDEX)?;
    let length = index_path.metadata().map_err(CheckpointError::io(&index_path))?.len();
    let broken = |reason: String| CheckpointError::Header { path: folder.join(INDEX), reason };
    if length > MOST_INDEX_BYTES {
        return Err(broken(format!("{length} bytes is too long for a list of tensor names")));
    }
    let text = std::fs::read(&index_path).map_err(CheckpointError::io(&index_path))?;
    let Index { weight_map } = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
    if weight_map.is_empty() {
        return Err(broken("its weight_map is empty".to_owned()));
    }

    let shards: BTreeSet<&String> = weight_map.values().collect();
    let mut files = Vec::with_capacity(shards.len());
    let mut tensors = Vec::with_capacity(weight_map.len());
    let mut where_found = BTreeMap::new();
    for (number, shard) in shards.into_iter().enumerate() {
        let file = DataFile::open(&inside(folder, &folder.join(INDEX), shard)?)?;
        tensors.extend(safetensors::tensors(&file, number)?);
        where_found.insert(shard, number);
        files.push(file);
    }
    let found: BTreeSet<(&str, usize)> = tensors.iter().map(|t| (t.name.as_str(), t.file)).collect();
    for (tensor, shard) in &weight_map {
        let number = where_found[shard];
        if !found.contains(&(tensor.as_str(), number)) {
            return Err(CheckpointError::Tensor {
                path: files[number].path.clone(),
                tensor: tensor.clone(),
                reason: format!("{INDEX} says it is in this file, and it is not"),
            });
        }
    }
    Ok((files, tensors))
}

/// The path of the folder's file `name`, after following links; an error when that leaves the folder.
///
/// `named_by` is the file to name in the error.
fn inside(folder: &Path, named_by: &Path, name: &str) -> Result<PathBuf, CheckpointError> {
    let outside =
        |reason: String| CheckpointError::OutsideFolder { path: named_by.to_owned(), shard: name.to_owned(), reason };
    let written = Path::new(name);
    if name.is_empty() || !written.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(outside("an absolute path, or one with `..`".to_owned()));
    }
    let path = folder.join(written);
    if !path.exists() {
        return Err(CheckpointError::MissingShard { path: named_by.to_owned(), shard: name.to_owned() });
    }
    let real = path.canonicalize().map_err(CheckpointError::io(&path))?;
    let real_folder = folder.canonicalize().map_err(CheckpointError::io(folder))?;
    let blobs = hub_cache_blobs(&real_folder);
    if real.starts_with(&real_folder) || blobs.is_some_and(|blobs| real.starts_with(blobs)) {
        return Ok(path);
    }
    Err(outside(format!("a link to {}", real.display())))
}

/// A folder `models--owner--name/snapshots/<revision>` of the Hugging Face cache is made of links into `blobs` beside `snapshots`.
fn hub_cache_blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder.parent()?;
    let repository = snapshots.parent()?;
    let is_cache = snapshots.file_name()? == "snapshots" && repository.file_name()?.to_str()?.starts_with("models--");
    is_cache.then(|| repository.join("blobs"))
}
