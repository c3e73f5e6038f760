//! The header of a `.safetensors` file: eight bytes of length, then JSON, then the tensors' bytes.

use super::{CheckpointError, DataFile, Encoding, Layout, Tensor};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// Longer headers are refused, as by the reference implementation.
const MOST_HEADER_BYTES: u64 = 100_000_000;

/// The text under `key` in the header's metadata; `None` where there is none, or no sound header.
pub(super) fn metadata(path: &Path, key: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__")]
        metadata: HashMap<String, String>,
    }
    let (_, json) = read_header(&DataFile::open(path).ok()?).ok()?;
    let mut header: Header = serde_json::from_slice(&json).ok()?;
    header.metadata.remove(key)
}

/// The tensors of one file, in the order of their bytes.
pub(super) fn tensors(file: &DataFile, index: usize) -> Result<Vec<Tensor>, CheckpointError> {
    let (data_start, json) = read_header(file)?;
    let header = |reason: String| CheckpointError::Header { path: file.path.clone(), reason };
    let Entries(entries) =
        serde_json::from_slice(&json).map_err(|error| header(format!("not the JSON expected: {error}")))?;

    let mut tensors = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        tensors.push(checked(&file.path, name, entry, data_start, file.length, index)?);
    }
    tensors.sort_by_key(|tensor| (tensor.offset, tensor.bytes));
    check_overlap(&file.path, &tensors)?;
    Ok(tensors)
}

/// Where the tensors' bytes begin, and the header's JSON.
fn read_header(file: &DataFile) -> Result<(u64, Vec<u8>), CheckpointError> {
    let header = |reason: String| CheckpointError::Header { path: file.path.clone(), reason };
    if file.length < 8 {
        return Err(CheckpointError::Truncated { path: file.path.clone(), needed: 8, found: file.length });
    }
    let mut length = [0; 8];
    file.read_at(0, &mut length)?;
    let length = u64::from_le_bytes(length);
    if length > MOST_HEADER_BYTES {
        return Err(header(format!(
            "it claims to be {length} bytes long (at most {MOST_HEADER_BYTES} are sensible): this may be no safetensors file"
        )));
    }
    // cannot overflow: the length is small
    let data_start = 8 + length;
    if data_start > file.length {
        return Err(CheckpointError::Truncated { path: file.path.clone(), needed: data_start, found: file.length });
    }
    let mut json = vec![0; length as usize];
    file.read_at(8, &mut json)?;
    Ok((data_start, json))
}

fn checked(
    path: &Path,
    name: String,
    entry: Entry,
    data_start: u64,
    file_length: u64,
    file: usize,
) -> Result<Tensor, CheckpointError> {
    let wrong = |reason: String| CheckpointError::Tensor { path: path.to_owned(), tensor: name.clone(), reason };
    let [begin, end] = entry.data_offsets;
    if begin > end {
        return Err(wrong(format!("its bytes end ({end}) before they begin ({begin})")));
    }
    let stored_end = data_start.checked_add(end).ok_or_else(|| wrong(format!("its end {end} is beyond any file")))?;
    if stored_end > file_length {
        return Err(CheckpointError::Truncated { path: path.to_owned(), needed: stored_end, found: file_length });
    }
    let (encoding, bits) = encoding(&entry.dtype).ok_or_else(|| wrong(format!("unknown dtype `{}`", entry.dtype)))?;
    let elements = entry.shape.iter().try_fold(1_usize, |product, &dimension| product.checked_mul(dimension));
    let bytes = elements
        .and_then(|elements| elements.checked_mul(bits))
        .ok_or_else(|| wrong(format!("its shape {:?} has more elements than can be counted", entry.shape)))?
        .div_ceil(8) as u64;
    if bytes != end - begin {
        return Err(wrong(format!(
            "the shape {:?} as {} takes {bytes} bytes, the header gives it {}",
            entry.shape,
            entry.dtype,
            end - begin
        )));
    }
    Ok(Tensor { name, shape: entry.shape, encoding, file, offset: data_start + begin, bytes, layout: Layout::Same })
}

/// `tensors` are sorted by where they begin.
pub(super) fn check_overlap(path: &Path, tensors: &[Tensor]) -> Result<(), CheckpointError> {
    let mut last: Option<&Tensor> = None;
    for tensor in tensors.iter().filter(|tensor| tensor.bytes > 0) {
        if let Some(last) = last
            && tensor.offset < last.offset + last.bytes
        {
            return Err(CheckpointError::Overlap {
                path: path.to_owned(),
                first: last.name.clone(),
                second: tensor.name.clone(),
            });
        }
        last = Some(tensor);
    }
    Ok(())
}

/// The encoding and its bits an element.
fn encoding(dtype: &str) -> Option<(Encoding, usize)> {
    Some(match dtype {
        "F32" => (Encoding::F32, 32),
        "F16" => (Encoding::F16, 16),
        "BF16" => (Encoding::Bf16, 16),
        "F64" => (Encoding::F64, 64),
        "F8_E4M3" => (Encoding::Other("F8_E4M3"), 8),
        "F8_E5M2" => (Encoding::Other("F8_E5M2"), 8),
        "F8_E8M0" => (Encoding::Other("F8_E8M0"), 8),
        "F4" => (Encoding::Other("F4"), 4),
        "BOOL" => (Encoding::Other("BOOL"), 8),
        "U8" => (Encoding::Other("U8"), 8),
        "I8" => (Encoding::Other("I8"), 8),
        "U16" => (Encoding::Other("U16"), 16),
        "I16" => (Encoding::Other("I16"), 16),
        "U32" => (Encoding::Other("U32"), 32),
        "I32" => (Encoding::Other("I32"), 32),
        "U64" => (Encoding::Other("U64"), 64),
        "I64" => (Encoding::Other("I64"), 64),
        "C64" => (Encoding::Other("C64"), 64),
        _ => return None,
    })
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The header's map without `__metadata__`; a name that is there twice is an error (serde's own maps keep the last).
struct Entries(Vec<(String, Entry)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from tensor names to dtype, shape and data_offsets")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    }
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format!("tensor `{name}` is there twice")));
                    }
                    let entry = map.next_value().map_err(|e| A::Error::custom(format!("tensor `{name}`: {e}")))?;
                    entries.push((name, entry));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Map)
    }
}
