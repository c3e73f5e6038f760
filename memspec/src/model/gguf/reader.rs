//! Reads a file forwards and refuses to read, or to allocate, more than there is.

use std::io::{BufReader, Read, Seek, SeekFrom};

use super::GgufError;

/// The longest string that is taken: an embedded tokenizer has tens of megabytes.
const MAX_STRING: u64 = 256 << 20;

/// The longest name of a metadata key or tensor; the format's own limit for keys.
const MAX_NAME: u64 = 65_535;

pub(super) struct Reader<R> {
    file: BufReader<R>,
    position: u64,
    len: u64,
}

impl<R: Read + Seek> Reader<R> {
    pub(super) fn new(mut file: R) -> Result<Reader<R>, GgufError> {
        let len = file.seek(SeekFrom::End(0))?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Reader { file: BufReader::new(file), position: 0, len })
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether `count` things of at least `each` bytes can follow.
    pub(super) fn room(&self, what: &'static str, count: u64, each: u64) -> Result<(), GgufError> {
        let left = self.len.saturating_sub(self.position);
        let needed = count.saturating_mul(each);
        if needed <= left { Ok(()) } else { Err(GgufError::Truncated { what, at: self.position, needed, left }) }
    }

    pub(super) fn bytes<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], GgufError> {
        self.room(what, 1, N as u64)?;
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes)?;
        self.position += N as u64;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &'static str) -> Result<u32, GgufError> {
        self.bytes(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &'static str) -> Result<u64, GgufError> {
        self.bytes(what).map(u64::from_le_bytes)
    }

    pub(super) fn name(&mut self, what: &'static str) -> Result<String, GgufError> {
        self.limited(what, MAX_NAME)
    }

    pub(super) fn string(&mut self, what: &'static str) -> Result<String, GgufError> {
        self.limited(what, MAX_STRING)
    }

    fn limited(&mut self, what: &'static str, most: u64) -> Result<String, GgufError> {
        let mut bytes = Vec::new();
        let at = self.position;
        self.append_limited(what, &mut bytes, most)?;
        String::from_utf8(bytes).map_err(|_| GgufError::NotText { what, at })
    }

    /// Reads a length and that many bytes onto the end of `text`.
    pub(super) fn append(&mut self, what: &'static str, text: &mut Vec<u8>) -> Result<(), GgufError> {
        self.append_limited(what, text, MAX_STRING)
    }

    fn append_limited(&mut self, what: &'static str, text: &mut Vec<u8>, most: u64) -> Result<(), GgufError> {
        let at = self.position;
        let length = self.u64(what)?;
        self.room(what, length, 1)?;
        if length > most {
            return Err(GgufError::TooLong { what, at, length });
        }
        // grows with what is really there, should the file shrink meanwhile
        let read = (&mut self.file).take(length).read_to_end(text)? as u64;
        self.position += read;
        if read < length {
            return Err(GgufError::Truncated { what, at, needed: length, left: read });
        }
        Ok(())
    }
}
