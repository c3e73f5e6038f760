//! A checkpoint written again, file by file, with some tensors changed: the rest is copied as it is stored.

use half::{bf16, f16};
use std::io;
use std::path::Path;

use super::{Checkpoint, CheckpointError, Encoding, SCRATCH_BYTES, Tensor, WriteError, write_atomically};

/// Elements that are changed at a time, in whole rows: 4 MiB in f32.
const PIECE: usize = 1 << 20;

/// Why a checkpoint could not be written again.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Read(#[from] CheckpointError),
    /// The new file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A value that the tensor's own type cannot hold.
    #[error("tensor `{tensor}`: {value} is beyond what {encoding} holds; merge into a base in BF16 or F32")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// The value.
        value: f32,
        /// The type that it is stored in.
        encoding: Encoding,
    },
    /// A tensor to be changed that is no matrix of plain numbers.
    #[error(
        "tensor `{tensor}` has the shape {shape:?} and is stored as {encoding}; only matrices in F32, F16, BF16 or F64 can be changed: use the model's original weights"
    )]
    NotAMatrix {
        /// The tensor.
        tensor: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The type that it is stored in.
        encoding: Encoding,
    },
}

/// What is done with the tensors of a file that is written again.
pub trait Change {
    /// Whether the tensor's values will change.
    fn changes(&self, tensor: &str) -> bool;
    /// Changes rows `first ..` of a tensor, `columns` values each. Called in order of the rows.
    fn rows(&mut self, tensor: &str, first: usize, columns: usize, values: &mut [f32]) -> Result<(), CheckpointError>;
    /// A tensor is written.
    fn done(&mut self, tensor: &str);
}

impl Checkpoint {
    /// The checkpoint's files in order.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// An error unless every tensor that `change` changes can be.
    pub(crate) fn expect_changeable(&self, change: &dyn Change) -> Result<(), RewriteError> {
        for tensor in self.tensors.iter().filter(|tensor| change.changes(&tensor.name)) {
            self.readable(tensor)?;
            if tensor.shape.len() != 2 || tensor.elements() == 0 || plain(tensor.encoding).is_none() {
                return Err(RewriteError::NotAMatrix {
                    tensor: tensor.name.clone(),
                    shape: tensor.shape.clone(),
                    encoding: tensor.encoding,
                });
            }
        }
        Ok(())
    }

    /// Writes the safetensors file number `file` to `path`, atomically: the same tensors in the same order and types. Memory is one
    /// piece of a tensor at a time.
    pub(crate) fn rewrite(&self, file: usize, path: &Path, change: &mut dyn Change) -> Result<(), RewriteError> {
        let tensors: Vec<&Tensor> = self.tensors.iter().filter(|tensor| tensor.file == file).collect();
        let header = header(&tensors);
        // What ends the writing for another reason than the disk.
        let mut failed = None;
        let written = write_atomically(path, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(header.as_bytes())?;
            for tensor in &tensors {
                let done = match change.changes(&tensor.name) {
                    true => self.write_changed(tensor, change, out),
                    false => self.write_stored(tensor, out),
                };
                match done {
                    Ok(()) => change.done(&tensor.name),
                    Err(Stopped::Disk(error)) => return Err(error),
                    Err(Stopped::Other(error)) => {
                        failed = Some(*error);
                        return Err(io::Error::other("stopped"));
                    }
                }
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error),
            None => Ok(written?),
        }
    }

    fn write_stored(&self, tensor: &Tensor, out: &mut dyn io::Write) -> Result<(), Stopped> {
        let mut bytes = vec![0; SCRATCH_BYTES.min(tensor.bytes as usize)];
        let mut at = 0;
        while at < tensor.bytes {
            let piece = (tensor.bytes - at).min(bytes.len() as u64) as usize;
            self.files[tensor.file].read_at(tensor.offset + at, &mut bytes[..piece])?;
            out.write_all(&bytes[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }

    fn write_changed(&self, tensor: &Tensor, change: &mut dyn Change, out: &mut dyn io::Write) -> Result<(), Stopped> {
        let (&[rows, columns], Some(encode)) = (tensor.shape.as_slice(), plain(tensor.encoding)) else {
            return Err(RewriteError::NotAMatrix {
                tensor: tensor.name.clone(),
                shape: tensor.shape.clone(),
                encoding: tensor.encoding,
            }
            .into());
        };
        let step = (PIECE / columns.max(1)).clamp(1, rows.max(1));
        let mut values = vec![0.0; step * columns];
        let mut bytes = Vec::new();
        for first in (0..rows).step_by(step) {
            let count = step.min(rows - first);
            let values = &mut values[..count * columns];
            self.read_f32(&tensor.name, first * columns..(first + count) * columns, values)?;
            change.rows(&tensor.name, first, columns, values)?;
            bytes.clear();
            for &value in values.iter() {
                if !encode(value, &mut bytes) && value.is_finite() {
                    let tensor_name = tensor.name.clone();
                    return Err(RewriteError::TooLarge { tensor: tensor_name, value, encoding: tensor.encoding }.into());
                }
            }
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// Why a file was not written to its end.
enum Stopped {
    /// The system said so.
    Disk(io::Error),
    /// What was to be written is at fault.
    Other(Box<RewriteError>),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl<E: Into<RewriteError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::Other(Box::new(error.into()))
    }
}

/// How a value is stored in a type of plain numbers: appends its bytes, and says whether what they mean is finite.
pub(super) fn plain(encoding: Encoding) -> Option<fn(f32, &mut Vec<u8>) -> bool> {
    Some(match encoding {
        Encoding::F32 => |value, bytes| {
            bytes.extend(value.to_le_bytes());
            value.is_finite()
        },
        Encoding::F64 => |value, bytes| {
            bytes.extend(f64::from(value).to_le_bytes());
            value.is_finite()
        },
        Encoding::F16 => |value, bytes| {
            let value = f16::from_f32(value);
            bytes.extend(value.to_le_bytes());
            value.is_finite()
        },
        Encoding::Bf16 => |value, bytes| {
            let value = bf16::from_f32(value);
            bytes.extend(value.to_le_bytes());
            value.is_finite()
        },
        _ => return None,
    })
}

/// The header of a safetensors file with these tensors one after another.
fn header(tensors: &[&Tensor]) -> String {
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".into(), serde_json::json!({ "format": "pt" }));
    let mut begin = 0;
    for tensor in tensors {
        let end = begin + tensor.bytes;
        let entry = serde_json::json!({
            "dtype": tensor.encoding.to_string(), "shape": tensor.shape, "data_offsets": [begin, end],
        });
        entries.insert(tensor.name.clone(), entry);
        begin = end;
    }
    let mut header = serde_json::Value::Object(entries).to_string();
    // the values begin at a multiple of eight
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    header
}
