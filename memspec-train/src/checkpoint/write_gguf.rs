//! GGUF files out: metadata and F32 tensors, version 3, little-endian, as ggml's `gguf.md` lays it out.

use std::path::Path;

use super::{TensorSpec, WriteError, write_atomically};

/// Tensors begin at multiples of this, which is what readers take where a file does not say.
const ALIGNMENT: u64 = 32;
/// ggml's number of the type F32.
const F32: u32 = 0;

/// A value of GGUF's metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// An unsigned number.
    U32(u32),
    /// A number.
    F32(f32),
    /// A text.
    Text(String),
}

/// Writes a GGUF file, atomically, one tensor in memory at a time. `values(index)` gives the values of `tensors[index]`, row-major.
///
/// # Errors
/// A file that cannot be written, or values that are not as many as their shape says; nothing is written then.
pub fn write_gguf(
    path: &Path,
    metadata: &[(&str, GgufValue)],
    tensors: &[TensorSpec],
    mut values: impl FnMut(usize) -> Vec<f32>,
) -> Result<(), WriteError> {
    let mut head = b"GGUF".to_vec();
    head.extend(3_u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut head, key);
        match value {
            GgufValue::U32(number) => {
                head.extend(4_u32.to_le_bytes());
                head.extend(number.to_le_bytes());
            }
            GgufValue::F32(number) => {
                head.extend(6_u32.to_le_bytes());
                head.extend(number.to_le_bytes());
            }
            GgufValue::Text(value) => {
                head.extend(8_u32.to_le_bytes());
                text(&mut head, value);
            }
        }
    }
    let mut offset = 0_u64;
    for TensorSpec { name, shape } in tensors {
        text(&mut head, name);
        head.extend((shape.len() as u32).to_le_bytes());
        // ggml counts dimensions from the innermost
        for dimension in shape.iter().rev() {
            head.extend((*dimension as u64).to_le_bytes());
        }
        head.extend(F32.to_le_bytes());
        head.extend(offset.to_le_bytes());
        offset += (4 * shape.iter().product::<usize>() as u64).next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT as usize), 0);

    write_atomically(path, |out| {
        out.write_all(&head)?;
        for (index, TensorSpec { name, shape }) in tensors.iter().enumerate() {
            let values = values(index);
            if values.len() != shape.iter().product::<usize>() {
                let message = format!("tensor `{name}` has {} values for the shape {shape:?}", values.len());
                return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
            }
            let mut bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT as usize), 0);
            out.write_all(&bytes)?;
        }
        Ok(())
    })
}

fn text(to: &mut Vec<u8>, text: &str) {
    to.extend((text.len() as u64).to_le_bytes());
    to.extend(text.as_bytes());
}
