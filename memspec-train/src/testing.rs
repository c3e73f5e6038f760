//! Small files of every kind, made in code, for the tests.

use std::path::{Path, PathBuf};

/// The bytes of a file in `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A JSON file in `tests/fixtures`.
pub(crate) fn json_fixture(name: &str) -> serde_json::Value {
    serde_json::from_slice(&fixture(name)).expect("a fixture is JSON")
}

/// Writes a file into a folder and gives its path.
pub(crate) fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("a test's folder can be written");
    path
}

/// The bytes of a safetensors file with this header and these bytes behind it.
pub(crate) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

/// Little-endian bytes of numbers.
pub(crate) fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes a GGUF file, version 3.
#[derive(Default)]
pub(crate) struct Gguf {
    metadata: Vec<u8>,
    metadata_count: u64,
    tensors: Vec<u8>,
    tensor_count: u64,
    data: Vec<u8>,
}

impl Gguf {
    fn put_text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn key(&mut self, key: &str, kind: u32) {
        Self::put_text(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata_count += 1;
    }

    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key, 8);
        Self::put_text(&mut self.metadata, value);
        self
    }

    pub(crate) fn number(mut self, key: &str, value: u32) -> Self {
        self.key(key, 4);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    #[allow(dead_code, reason = "for the tests of the command")]
    pub(crate) fn decimal(mut self, key: &str, value: f32) -> Self {
        self.key(key, 6);
        self.metadata.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn flag(mut self, key: &str, value: bool) -> Self {
        self.key(key, 7);
        self.metadata.push(value.into());
        self
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, 9);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend((length as u64).to_le_bytes());
    }

    pub(crate) fn texts<S: AsRef<str>>(mut self, key: &str, values: &[S]) -> Self {
        self.list(key, 8, values.len());
        for value in values {
            Self::put_text(&mut self.metadata, value.as_ref());
        }
        self
    }

    pub(crate) fn integers(mut self, key: &str, values: &[i32]) -> Self {
        self.list(key, 5, values.len());
        self.metadata.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    pub(crate) fn floats(mut self, key: &str, values: &[f32]) -> Self {
        self.list(key, 6, values.len());
        self.metadata.extend(f32_bytes(values));
        self
    }

    /// `shape` is outermost first; `kind` is ggml's number.
    pub(crate) fn tensor(mut self, name: &str, shape: &[u64], kind: u32, bytes: &[u8]) -> Self {
        Self::put_text(&mut self.tensors, name);
        self.tensors.extend((shape.len() as u32).to_le_bytes());
        for dimension in shape.iter().rev() {
            self.tensors.extend(dimension.to_le_bytes());
        }
        self.tensors.extend(kind.to_le_bytes());
        self.tensors.extend((self.data.len() as u64).to_le_bytes());
        self.tensor_count += 1;
        self.data.extend(bytes);
        self.data.resize(self.data.len().next_multiple_of(32), 0);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend(self.tensor_count.to_le_bytes());
        out.extend(self.metadata_count.to_le_bytes());
        out.extend(&self.metadata);
        out.extend(&self.tensors);
        out.resize(out.len().next_multiple_of(32), 0);
        out.extend(&self.data);
        out
    }
}
