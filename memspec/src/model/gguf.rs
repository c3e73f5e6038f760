//! GGUF files: what their header says, and the `Architecture` that follows from it.
//!
//! Reads versions 2 and 3, little endian. A header is read from a file handle, never the whole file, and trusted in
//! nothing: every count, length and offset is checked against the file's size before anything is allocated for it.

mod architecture;
mod kind;
mod reader;
mod value;

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

pub use kind::GgmlType;
use reader::Reader;
pub use value::{Array, Strings, Value};

use super::check::Nonsense;

const MAGIC: [u8; 4] = *b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// What a GGUF file says before its tensors' bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Version of the format: 2 or 3.
    pub version: u32,
    /// Metadata by key (`llama.block_count`, `tokenizer.ggml.tokens`).
    pub metadata: BTreeMap<String, Value>,
    /// The tensors in the file's order.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes begin, from the file's beginning.
    pub data_start: u64,
}

/// One tensor of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// GGUF's name (`blk.0.attn_q.weight`).
    pub name: String,
    /// How its elements are stored.
    pub kind: GgmlType,
    /// Rows first, as Hugging Face has it; GGUF itself writes the row's length first.
    pub shape: Vec<u64>,
    /// Where its bytes begin, from the file's beginning.
    pub offset: u64,
    /// How many bytes it has. `offset + bytes` is inside the file.
    pub bytes: u64,
}

/// What is wrong with a GGUF file.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file could not be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Another kind of file.
    #[error("not a GGUF file: it does not begin with `GGUF`")]
    NotGguf,
    /// A version that is not read.
    #[error("GGUF version {0} is not supported; versions 2 and 3 are, little endian")]
    Version(u32),
    /// The file ends too early.
    #[error("the file is cut short: {what} at byte {at} needs {needed} bytes, {left} are left")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: u64,
        /// How many bytes it takes.
        needed: u64,
        /// How many there are.
        left: u64,
    },
    /// A string longer than any real one.
    #[error("{what} at byte {at} is {length} bytes long, more than any real one")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// Bytes that are no text.
    #[error("{what} at byte {at} is not UTF-8")]
    NotText {
        /// What was being read.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// A metadata value of no known type.
    #[error("metadata `{key}` has the unknown type {id}")]
    ValueType {
        /// The key.
        key: String,
        /// The type's number.
        id: u32,
    },
    /// Two metadata keys or tensors of one name.
    #[error("the {what} `{name}` is there twice")]
    Duplicate {
        /// `metadata key` or `tensor`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A tensor that cannot be.
    #[error("tensor `{name}`: {why}")]
    Tensor {
        /// Its name.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Metadata that an architecture needs.
    #[error("metadata `{0}` is missing")]
    Missing(String),
    /// Metadata of the wrong type or value.
    #[error("metadata `{key}` should be {expected}")]
    Metadata {
        /// The key.
        key: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An architecture that is not known.
    #[error("{0}; give a folder with the model's config.json instead")]
    Unsupported(String),
    /// Shapes that no model has.
    #[error(transparent)]
    Nonsense(#[from] Nonsense),
}

impl Header {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, or what [`GgufError`] lists.
    pub fn open(path: &Path) -> Result<Header, GgufError> {
        Header::read(File::open(path)?)
    }

    /// Reads a header from the beginning of `file`. What it allocates is bounded by a small multiple of the file's size.
    ///
    /// # Errors
    /// See [`GgufError`].
    pub fn read(file: impl Read + Seek) -> Result<Header, GgufError> {
        let mut reader = Reader::new(file)?;
        if reader.len() < 4 || reader.bytes::<4>("the magic")? != MAGIC {
            return Err(GgufError::NotGguf);
        }
        let version = reader.u32("the version")?;
        if !matches!(version, 2 | 3) {
            return Err(GgufError::Version(version));
        }
        let tensor_count = reader.u64("the number of tensors")?;
        let metadata_count = reader.u64("the number of metadata")?;
        // the least that one takes: name's length, (dimensions, type, offset) or (value's type, one byte)
        reader.room("the list of tensors", tensor_count, 8 + 4 + 4 + 8)?;
        reader.room("the metadata", metadata_count, 8 + 4 + 1)?;

        let mut metadata = BTreeMap::new();
        for _ in 0..metadata_count {
            let key = reader.name("a metadata key")?;
            let value = value::read(&mut reader, &key)?;
            if metadata.contains_key(&key) {
                return Err(GgufError::Duplicate { what: "metadata key", name: key });
            }
            metadata.insert(key, value);
        }
        let alignment = alignment(&metadata)?;
        reader.room("the list of tensors", tensor_count, 8 + 4 + 4 + 8)?;
        let mut tensors = Vec::new();
        let mut names = HashSet::new();
        for _ in 0..tensor_count {
            let tensor = tensor(&mut reader, alignment)?;
            if !names.insert(tensor.name.clone()) {
                return Err(GgufError::Duplicate { what: "tensor", name: tensor.name });
            }
            tensors.push(tensor);
        }
        let data_start = reader.position().next_multiple_of(alignment);
        place(&mut tensors, data_start, reader.len())?;
        Ok(Header { version, metadata, tensors, data_start })
    }

    /// The tensor of this name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.iter().find(|t| t.name == name)
    }
}

impl TensorInfo {
    /// Number of elements.
    pub fn elements(&self) -> u64 {
        // cannot overflow: it was checked when the header was read
        self.shape.iter().fold(1, |product, d| product.saturating_mul(*d))
    }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, GgufError> {
    let Some(value) = metadata.get("general.alignment") else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    // 2^20: far above any in use, and far from overflowing a file's offsets
    match value.as_u64() {
        Some(alignment) if alignment.is_power_of_two() && alignment <= 1 << 20 => Ok(alignment),
        _ => Err(GgufError::Metadata { key: "general.alignment".to_owned(), expected: "a power of two up to 2^20" }),
    }
}

/// Reads one entry of the tensor list; `offset` is still from the data's beginning.
fn tensor(reader: &mut Reader<impl Read + Seek>, alignment: u64) -> Result<TensorInfo, GgufError> {
    let name = reader.name("a tensor's name")?;
    let wrong = |why: String| GgufError::Tensor { name: name.clone(), why };
    let dimensions = reader.u32("a tensor's number of dimensions")?;
    if dimensions > MAX_DIMENSIONS {
        return Err(wrong(format!("{dimensions} dimensions, at most {MAX_DIMENSIONS} are possible")));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        shape.push(reader.u64("a tensor's shape")?);
    }
    let id = reader.u32("a tensor's type")?;
    let kind = GgmlType::from_id(id).ok_or_else(|| wrong(format!("unknown type {id}")))?;
    let offset = reader.u64("a tensor's offset")?;
    if shape.contains(&0) {
        return Err(wrong("a dimension of 0".to_owned()));
    }
    let row = shape.first().copied().unwrap_or(1);
    if !row.is_multiple_of(kind.block_size()) {
        return Err(wrong(format!(
            "rows of {row} elements cannot be cut into {kind:?} blocks of {}",
            kind.block_size()
        )));
    }
    let elements = shape.iter().try_fold(1u64, |product, d| product.checked_mul(*d));
    let bytes = elements.and_then(|e| (e / kind.block_size()).checked_mul(kind.block_bytes()));
    let bytes = bytes.ok_or_else(|| wrong("more elements than a 64 bit number holds".to_owned()))?;
    if !offset.is_multiple_of(alignment) {
        return Err(wrong(format!("offset {offset} is not a multiple of the alignment {alignment}")));
    }
    shape.reverse();
    Ok(TensorInfo { name, kind, shape, offset, bytes })
}

/// Turns offsets into the file's own, and checks that each tensor is inside the file and apart from every other.
fn place(tensors: &mut [TensorInfo], data_start: u64, file: u64) -> Result<(), GgufError> {
    for tensor in tensors.iter_mut() {
        let start = data_start.checked_add(tensor.offset);
        match start.and_then(|start| Some((start, start.checked_add(tensor.bytes)?))) {
            Some((start, end)) if end <= file => tensor.offset = start,
            _ => {
                let why = format!(
                    "its {} bytes at {} + {data_start} go past the file's end at {file}; the file is cut short or damaged",
                    tensor.bytes, tensor.offset
                );
                return Err(GgufError::Tensor { name: tensor.name.clone(), why });
            }
        }
    }
    let mut order: Vec<&TensorInfo> = tensors.iter().collect();
    order.sort_by_key(|t| t.offset);
    for pair in order.windows(2) {
        let [first, second] = pair else { continue };
        if first.offset + first.bytes > second.offset {
            return Err(GgufError::Tensor { name: second.name.clone(), why: format!("it overlaps `{}`", first.name) });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
