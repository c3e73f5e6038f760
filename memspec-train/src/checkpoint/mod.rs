//! Weights on disk: safetensors folders and GGUF files, read piece by piece into `f32`.
//!
//! Tensors have Hugging Face's names and layout whatever the file's own format is. Nothing is mapped or read whole: a read
//! goes through one scratch of at most [`SCRATCH_BYTES`], so opening and reading a model of any size costs little memory.

mod encoding;
mod error;
mod file;
mod folder;
mod gguf;
mod names;
mod packed;
mod rewrite;
mod safetensors;
mod write;
mod write_gguf;
mod write_tensors;

pub use encoding::Encoding;
pub use error::CheckpointError;
pub use packed::PackedWeight;
pub use rewrite::{Change, RewriteError};
pub use write::{WriteError, write_atomically};
pub use write_gguf::{GgufValue, write_gguf};
pub use write_tensors::{Stored, TensorSpec, Values, write_safetensors, write_tensors};

pub(crate) use gguf::GgufVocabulary;

use file::DataFile;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The most bytes that a read holds beside the caller's slice.
pub const SCRATCH_BYTES: usize = 256 * 1024;

/// A model's weights: which tensors there are, and their values on demand.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    files: Vec<DataFile>,
    tensors: Vec<Tensor>,
    by_name: HashMap<String, usize>,
    scratch: Mutex<Vec<u8>>,
}

/// What the header says about one tensor, checked against its file.
#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    encoding: Encoding,
    /// Index into the checkpoint's files.
    file: usize,
    /// First byte in the file.
    offset: u64,
    bytes: u64,
    layout: Layout,
}

/// How the file's order of values differs from Hugging Face's.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Layout {
    Same,
    /// GGUF llama's q and k: in each head of `rows` rows, row `2j + t` holds what Hugging Face has in row `t * rows / 2 + j`.
    InterleavedRotary {
        rows: usize,
    },
    /// GGUF gemma's norms, where one is already added to the weight.
    OneAdded,
}

impl Tensor {
    /// Cannot overflow: checked when the header was read.
    fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl Checkpoint {
    /// Opens a folder with `model.safetensors`, with `model.safetensors.index.json` and its shards, or with one `.gguf` file;
    /// or a single `.safetensors` or `.gguf` file. Reads headers only.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let path = path.as_ref();
        let (files, tensors) = folder::open(path)?;
        let mut by_name = HashMap::with_capacity(tensors.len());
        for (index, tensor) in tensors.iter().enumerate() {
            if let Some(first) = by_name.insert(tensor.name.clone(), index) {
                let first: &Tensor = &tensors[first];
                let also = match first.file == tensor.file {
                    true => String::new(),
                    false => format!(", also in {}", files[first.file].path.display()),
                };
                let path = files[tensor.file].path.clone();
                return Err(CheckpointError::Duplicate { path, tensor: tensor.name.clone(), also });
            }
        }
        Ok(Self { path: path.to_owned(), files, tensors, by_name, scratch: Mutex::default() })
    }

    /// What the header of a safetensors file says under `key` beside its tensors.
    pub(crate) fn metadata(file: &Path, key: &str) -> Option<String> {
        safetensors::metadata(file, key)
    }

    /// The folder or file that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names, in the order of the files' bytes: reading in this order reads each file from front to back.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.iter().map(|tensor| tensor.name.as_str())
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The tensor's shape, outermost dimension first: `[out_features, in_features]` for a linear.
    pub fn shape(&self, name: &str) -> Result<&[usize], CheckpointError> {
        self.find(name).map(|tensor| tensor.shape.as_slice())
    }

    /// How the tensor's numbers are stored.
    pub fn dtype(&self, name: &str) -> Result<Encoding, CheckpointError> {
        self.find(name).map(|tensor| tensor.encoding)
    }

    /// The file that a tensor is in; the checkpoint's own path where there is none of that name.
    fn path_of(&self, name: &str) -> PathBuf {
        self.by_name.get(name).map_or(&self.path, |&index| &self.files[self.tensors[index].file].path).clone()
    }

    /// Bytes that all tensors take on disk.
    pub fn stored_bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.bytes).sum()
    }

    /// Bytes that a tensor takes on disk; 0 when there is none of that name.
    pub(crate) fn bytes(&self, name: &str) -> u64 {
        self.by_name.get(name).map_or(0, |&index| self.tensors[index].bytes)
    }

    /// An error unless the tensor is there, has this shape, and its numbers can be read.
    pub fn expect_shape(&self, name: &str, shape: &[usize]) -> Result<(), CheckpointError> {
        let tensor = self.find(name)?;
        self.readable(tensor)?;
        if tensor.shape != shape {
            return Err(CheckpointError::Shape {
                path: self.files[tensor.file].path.clone(),
                tensor: name.to_owned(),
                found: tensor.shape.clone(),
                expected: shape.to_owned(),
            });
        }
        Ok(())
    }

    /// The whole tensor, row-major.
    pub fn read_all(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let elements = self.find(name)?.elements();
        let mut values = vec![0.0; elements];
        self.read_f32(name, 0..elements, &mut values)?;
        Ok(values)
    }

    /// Elements `range` of the tensor (counted row-major) into `out`, which has the range's length.
    ///
    /// May be called from several threads; each then has its own scratch for the time of the call.
    pub fn read_f32(&self, name: &str, range: Range<usize>, out: &mut [f32]) -> Result<(), CheckpointError> {
        let tensor = self.find(name)?;
        let elements = tensor.elements();
        if range.start > range.end || range.end > elements || range.len() != out.len() {
            return Err(CheckpointError::Range {
                path: self.files[tensor.file].path.clone(),
                tensor: name.to_owned(),
                elements,
                start: range.start,
                end: range.end,
                room: out.len(),
            });
        }
        let block_bytes = self.readable(tensor)?;
        let mut scratch = match self.scratch.lock() {
            Ok(mut shared) => std::mem::take(&mut *shared),
            Err(_) => Vec::new(),
        };
        let result = self.read_layout(tensor, block_bytes, range, out, &mut scratch);
        if let Ok(mut shared) = self.scratch.lock() {
            *shared = scratch;
        }
        result
    }

    fn read_layout(
        &self,
        tensor: &Tensor,
        block_bytes: usize,
        range: Range<usize>,
        out: &mut [f32],
        scratch: &mut Vec<u8>,
    ) -> Result<(), CheckpointError> {
        match tensor.layout {
            Layout::Same => self.read_stored(tensor, block_bytes, range.start, out, scratch),
            Layout::OneAdded => {
                self.read_stored(tensor, block_bytes, range.start, out, scratch)?;
                out.iter_mut().for_each(|value| *value -= 1.0);
                Ok(())
            }
            Layout::InterleavedRotary { rows } => {
                let row: usize = tensor.shape[1..].iter().product();
                let (mut at, mut out) = (range.start, out);
                while !out.is_empty() {
                    let (wanted, column) = (at / row, at % row);
                    let piece = (row - column).min(out.len());
                    let (head, in_head) = (wanted / rows, wanted % rows);
                    let stored = head * rows + 2 * (in_head % (rows / 2)) + in_head / (rows / 2);
                    let (now, later) = out.split_at_mut(piece);
                    self.read_stored(tensor, block_bytes, stored * row + column, now, scratch)?;
                    (at, out) = (at + piece, later);
                }
                Ok(())
            }
        }
    }

    /// Elements from `first` on in the file's own order; decodes whole blocks, keeps what was asked for.
    fn read_stored(
        &self,
        tensor: &Tensor,
        block_bytes: usize,
        mut first: usize,
        mut out: &mut [f32],
        scratch: &mut Vec<u8>,
    ) -> Result<(), CheckpointError> {
        let file = &self.files[tensor.file];
        let block = tensor.encoding.block();
        let most_blocks = SCRATCH_BYTES / block_bytes;
        while !out.is_empty() {
            let skip = first % block;
            // whole blocks go straight into `out`, one that is wanted in part goes through the stack
            let blocks = match skip {
                0 => (out.len() / block).min(most_blocks),
                _ => 0,
            };
            let bytes = blocks.max(1) * block_bytes;
            let offset = tensor.offset + (first / block) as u64 * block_bytes as u64;
            if scratch.len() < bytes {
                scratch.resize(bytes, 0);
            }
            file.read_at(offset, &mut scratch[..bytes])?;
            let piece = match blocks {
                0 => {
                    let mut whole = [0.0; 256];
                    encoding::decode(tensor.encoding, &scratch[..bytes], &mut whole[..block]);
                    let piece = (block - skip).min(out.len());
                    out[..piece].copy_from_slice(&whole[skip..skip + piece]);
                    piece
                }
                _ => {
                    encoding::decode(tensor.encoding, &scratch[..bytes], &mut out[..blocks * block]);
                    blocks * block
                }
            };
            first += piece;
            out = &mut out[piece..];
        }
        Ok(())
    }

    /// The bytes of a tensor of so many U8 elements, as they are stored.
    pub fn read_bytes(&self, name: &str, count: usize) -> Result<Vec<u8>, CheckpointError> {
        let tensor = self.find(name)?;
        let file = &self.files[tensor.file];
        if tensor.encoding != Encoding::Other("U8") {
            return Err(CheckpointError::Tensor {
                path: file.path.clone(),
                tensor: name.to_owned(),
                reason: format!("it is stored as {}, and bytes (U8) are expected", tensor.encoding),
            });
        }
        if tensor.elements() != count {
            return Err(CheckpointError::Shape {
                path: file.path.clone(),
                tensor: name.to_owned(),
                found: tensor.shape.clone(),
                expected: vec![count],
            });
        }
        let mut bytes = vec![0; count];
        file.read_at(tensor.offset, &mut bytes)?;
        Ok(bytes)
    }

    fn find(&self, name: &str) -> Result<&Tensor, CheckpointError> {
        match self.by_name.get(name) {
            Some(&index) => Ok(&self.tensors[index]),
            None => Err(CheckpointError::Missing {
                path: self.path.clone(),
                tensor: name.to_owned(),
                nearest: names::nearest(name, self.names()),
            }),
        }
    }

    /// Bytes of one block, or why there are no numbers to read.
    fn readable(&self, tensor: &Tensor) -> Result<usize, CheckpointError> {
        tensor.encoding.block_bytes().ok_or_else(|| CheckpointError::Dtype {
            path: self.files[tensor.file].path.clone(),
            tensor: tensor.name.clone(),
            stored: tensor.encoding.to_string(),
            help: "use the model's original weights (F32, F16 or BF16): memspec quantizes them itself while loading",
        })
    }
}

#[cfg(test)]
mod tests;
