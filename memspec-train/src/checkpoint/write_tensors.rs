//! safetensors files, written tensor by tensor and piece by piece.

use std::io::{self, Write};
use std::path::Path;

use super::rewrite::plain;
use super::{Encoding, WriteError, write_atomically};

/// Name and shape of an F32 tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name in the file.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

/// A tensor to be written, and how its numbers are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The tensor's name in the file.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// F32, F16, BF16 or F64; or `Other("U8")` for bytes that are written as they are.
    pub encoding: Encoding,
}

impl Stored {
    /// A tensor of bytes.
    pub fn bytes(name: String, count: usize) -> Self {
        Self { name, shape: vec![count], encoding: Encoding::Other("U8") }
    }

    fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of one element.
    fn width(&self) -> usize {
        self.encoding.block_bytes().unwrap_or(1)
    }
}

/// Takes a tensor's values, in order.
pub struct Values<'a> {
    tensor: &'a Stored,
    out: &'a mut dyn Write,
    given: usize,
    scratch: Vec<u8>,
}

impl std::fmt::Debug for Values<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").field("tensor", self.tensor).field("given", &self.given).finish_non_exhaustive()
    }
}

impl Values<'_> {
    /// The next numbers, rounded once to the type that they are stored in.
    ///
    /// # Errors
    /// A full disk; a finite number that the type cannot hold; a tensor of bytes.
    pub fn numbers(&mut self, values: &[f32]) -> io::Result<()> {
        let Stored { name, encoding, .. } = self.tensor;
        let wrong = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        let encode = plain(*encoding).ok_or_else(|| wrong(format!("tensor `{name}` holds bytes and no numbers")))?;
        self.given += values.len();
        for piece in values.chunks(4096) {
            self.scratch.clear();
            for &value in piece {
                if !encode(value, &mut self.scratch) && value.is_finite() {
                    return Err(wrong(format!("tensor `{name}`: {value} is beyond what {encoding} holds")));
                }
            }
            self.out.write_all(&self.scratch)?;
        }
        Ok(())
    }

    /// The next bytes of a tensor of bytes.
    ///
    /// # Errors
    /// A full disk.
    pub fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.given += bytes.len() / self.tensor.width();
        self.out.write_all(bytes)
    }
}

/// Writes a safetensors file, atomically. `write(index, values)` gives the values of `tensors[index]`, row-major, in as many pieces as it
/// likes; a wrong count is an error, and nothing is written then. `metadata` stands in the header beside `format`.
///
/// # Errors
/// A full disk, a folder that may not be written, a name that is given twice, values that do not fit.
pub fn write_tensors(
    path: &Path,
    metadata: &[(&str, &str)],
    tensors: &[Stored],
    mut write: impl FnMut(usize, &mut Values<'_>) -> io::Result<()>,
) -> Result<(), WriteError> {
    // Wide elements first, so that all are aligned; then by name, so that the same tensors give the same bytes.
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(tensors[index].width()), &tensors[index].name));
    let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);

    let mut header = serde_json::Map::new();
    let all = [("format", "pt")].into_iter().chain(metadata.iter().copied());
    let metadata: serde_json::Map<_, _> = all.map(|(key, value)| (key.to_owned(), value.into())).collect();
    header.insert("__metadata__".into(), metadata.into());
    let mut begin = 0;
    for &index in &order {
        let tensor = &tensors[index];
        let end = begin + tensor.width() * tensor.elements();
        let entry = serde_json::json!({
            "dtype": tensor.encoding.to_string(), "shape": tensor.shape, "data_offsets": [begin, end],
        });
        if header.insert(tensor.name.clone(), entry).is_some() {
            return Err(WriteError::new(path, invalid(format!("tensor `{}` is given twice", tensor.name))));
        }
        begin = end;
    }
    let mut header = serde_json::Value::Object(header).to_string();
    // the values begin at a multiple of eight
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }

    write_atomically(path, |out| {
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(header.as_bytes())?;
        let mut scratch = Vec::new();
        for &index in &order {
            let tensor = &tensors[index];
            let mut values = Values { tensor, out, given: 0, scratch };
            write(index, &mut values)?;
            let Values { given, scratch: again, .. } = values;
            scratch = again;
            if given != tensor.elements() {
                let Stored { name, shape, .. } = tensor;
                return Err(invalid(format!("tensor `{name}` has {given} values for the shape {shape:?}")));
            }
        }
        Ok(())
    })
}

/// Writes a safetensors file of F32 tensors, atomically, one tensor in memory at a time.
///
/// `values(index)` gives the values of `tensors[index]`, row-major; a wrong count is an error, and nothing is written then.
///
/// # Errors
/// As [`write_tensors`].
pub fn write_safetensors(
    path: &Path,
    tensors: &[TensorSpec],
    mut values: impl FnMut(usize) -> Vec<f32>,
) -> Result<(), WriteError> {
    let stored: Vec<Stored> = tensors
        .iter()
        .map(|TensorSpec { name, shape }| Stored { name: name.clone(), shape: shape.clone(), encoding: Encoding::F32 })
        .collect();
    write_tensors(path, &[], &stored, |index, out| out.numbers(&values(index)))
}
