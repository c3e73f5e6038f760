//! One open file that is read by position: no map, no buffer of the whole.

use super::CheckpointError;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// An open file of weights and its length at the time it was opened.
#[derive(Debug)]
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    pub(super) length: u64,
    file: File,
}

impl DataFile {
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::io(path))?;
        let metadata = file.metadata().map_err(CheckpointError::io(path))?;
        if !metadata.is_file() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(CheckpointError::Io { path: path.to_owned(), source });
        }
        Ok(Self { path: path.to_owned(), length: metadata.len(), file })
    }

    /// Fills `bytes` from `offset` on.
    pub(super) fn read_at(&self, offset: u64, bytes: &mut [u8]) -> Result<(), CheckpointError> {
        let end = offset.saturating_add(bytes.len() as u64);
        read_exact_at(&self.file, bytes, offset).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => CheckpointError::Truncated {
                path: self.path.clone(),
                needed: end,
                found: self.file.metadata().map_or(self.length, |m| m.len()),
            },
            _ => CheckpointError::Io { path: self.path.clone(), source },
        })
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, offset)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[read..];
        offset += read as u64;
    }
    Ok(())
}
