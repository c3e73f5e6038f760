//! Merging into a base that bitsandbytes packed: the merged model is dense.
//!
//! What was packed is decoded a few rows at a time and stored in the type that it had before it was packed, so what the adapter learned is not
//! rounded to four bits. There is one file, and `config.json` says no more that the weights are packed.

use std::io;
use std::path::Path;

use super::{MergeError, Update};
use crate::checkpoint::{
    Change, Checkpoint, CheckpointError, PackedWeight, Stored, Values, WriteError, write_atomically, write_tensors,
};
use crate::quantize::nf4::Nf4;

/// Elements that are decoded at a time: 4 MiB in f32.
const PIECE: usize = 1 << 20;

/// A tensor of the merged model.
struct Tensor {
    to: Stored,
    packed: Option<PackedWeight>,
}

/// Whether some weights of a base are packed.
pub(super) fn is_packed(source: &Checkpoint) -> bool {
    source.names().any(|name| source.is_part_of_packed(name))
}

/// Writes the merged weights to `path`, and returns their number and bytes.
pub(super) fn write(source: &Checkpoint, path: &Path, update: &mut Update<'_>) -> Result<(usize, u64), MergeError> {
    let tensors = tensors(source)?;
    let stored: Vec<Stored> = tensors.iter().map(|tensor| tensor.to.clone()).collect();
    // What ends the writing for another reason than the disk.
    let mut failed = None;
    let written = write_tensors(path, &[], &stored, |index, out| {
        let done = match write_one(source, &tensors[index], update, out) {
            Ok(done) => done,
            Err(error) => {
                failed = Some(error);
                Err(io::Error::other("stopped"))
            }
        };
        update.done(&stored[index].name);
        done
    });
    // First what stopped it: the writer's error is only that it was stopped.
    if let Some(error) = failed {
        return Err(error.into());
    }
    written?;
    let bytes = stored.iter().map(|tensor| {
        let elements: usize = tensor.shape.iter().product();
        (elements * tensor.encoding.block_bytes().unwrap_or(1)) as u64
    });
    Ok((stored.len(), bytes.sum()))
}

/// All tensors but those that say how others are packed.
fn tensors(source: &Checkpoint) -> Result<Vec<Tensor>, CheckpointError> {
    let names = source.names().filter(|name| !source.is_part_of_packed(name));
    let one = |name: &str| {
        let packed = source.packed(name)?;
        let (shape, encoding) = match &packed {
            Some(packed) => (packed.shape.to_vec(), packed.dtype),
            None => {
                let shape = source.shape(name)?.to_vec();
                source.expect_shape(name, &shape)?;
                (shape, source.dtype(name)?)
            }
        };
        Ok(Tensor { to: Stored { name: name.to_owned(), shape, encoding }, packed })
    };
    names.map(one).collect()
}

/// The outer error is one of reading, the inner one of writing.
fn write_one(
    source: &Checkpoint,
    tensor: &Tensor,
    update: &mut Update<'_>,
    out: &mut Values<'_>,
) -> Result<io::Result<()>, CheckpointError> {
    let Tensor { to: Stored { name, shape, .. }, packed } = tensor;
    let codes: Option<Nf4> = match packed {
        Some(packed) => Some(source.read_packed(name, packed)?),
        None => None,
    };
    let elements: usize = shape.iter().product();
    let columns = shape.last().copied().unwrap_or(1).max(1);
    let step = (PIECE / columns).max(1) * columns;
    let mut values = vec![0.0; step.min(elements)];
    for first in (0..elements).step_by(step) {
        let values = &mut values[..step.min(elements - first)];
        match &codes {
            Some(codes) => codes.decode_range(first, values),
            None => source.read_f32(name, first..first + values.len(), values)?,
        }
        if update.changes(name) {
            update.rows(name, first / columns, columns, values)?;
        }
        if let Err(error) = out.numbers(values) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// Writes the base's `config.json` without what it says of packed weights.
pub(super) fn write_config(base: &Path, to: &Path) -> Result<(), MergeError> {
    let path = base.join("config.json");
    let read = std::fs::read(&path).map_err(|source| CheckpointError::Io { path: path.clone(), source })?;
    let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&read)
        .map_err(|error| CheckpointError::Header { path: path.clone(), reason: error.to_string() })?;
    config.remove("quantization_config");
    let write = |out: &mut dyn io::Write| {
        serde_json::to_writer_pretty(&mut *out, &config)?;
        out.write_all(b"\n")
    };
    write_atomically(&to.join("config.json"), write).map_err(|error: WriteError| error.into())
}
