//! Files that are either whole or not there: written beside their place, synced, renamed.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Why a file could not be written. What was there before is untouched.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The disk or the quota is full.
    #[error("{}: the disk is full ({source}); free some space, or set `output` to another disk", path.display())]
    DiskFull {
        /// The file to be written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder may not be written to.
    #[error("{}: may not be written ({source}); set `output` to a folder of yours", path.display())]
    Permission {
        /// The file to be written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another refusal of the system.
    #[error("{}: could not be written: {source}", path.display())]
    Io {
        /// The file to be written.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl WriteError {
    /// Sorts a system's error by what the user can do about it.
    pub fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, source }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permission { path, source },
            _ => Self::Io { path, source },
        }
    }
}

/// Writes `path` through `content`: into a temporary file beside it, synced to the disk, then renamed over it.
///
/// A kill at any instant leaves the old file or the new one. The folder is made if needed.
pub fn write_atomically(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), WriteError> {
    let attempt = || -> io::Result<()> {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        std::fs::create_dir_all(folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut builder = tempfile::Builder::new();
        // the permissions of an ordinary new file, not a temporary's own 0600
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.prefix(&format!(".{name}.")).suffix(".part").tempfile_in(folder)?;
        let mut out = BufWriter::new(temporary);
        content(&mut out)?;
        let temporary = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        temporary.as_file().sync_all()?;
        temporary.persist(path).map_err(|error| error.error)?;
        // the rename itself must reach the disk, too; not every system can open a folder for that
        if let Ok(folder) = File::open(folder) {
            let _ = folder.sync_all();
        }
        Ok(())
    };
    attempt().map_err(|source| WriteError::new(path, source))
}

/// Name and shape of a tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// The tensor's name in the file.
    pub name: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
}

/// Writes a safetensors file of F32 tensors, atomically, one tensor in memory at a time.
///
/// `values(index)` gives the values of `tensors[index]`, row-major; a wrong count is an error, and nothing is written then.
pub fn write_safetensors(
    path: &Path,
    tensors: &[TensorSpec],
    mut values: impl FnMut(usize) -> Vec<f32>,
) -> Result<(), WriteError> {
    // names in order, so that the same tensors give the same bytes
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| tensors[a].name.cmp(&tensors[b].name));

    let mut header = serde_json::Map::new();
    header.insert("__metadata__".into(), serde_json::json!({ "format": "pt" }));
    let mut begin = 0;
    for &index in &order {
        let TensorSpec { name, shape } = &tensors[index];
        let end = begin + 4 * shape.iter().product::<usize>();
        let entry = serde_json::json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] });
        if header.insert(name.clone(), entry).is_some() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, format!("tensor `{name}` is given twice"));
            return Err(WriteError::new(path, source));
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
        for &index in &order {
            let values = values(index);
            let TensorSpec { name, shape } = &tensors[index];
            let elements: usize = shape.iter().product();
            if values.len() != elements {
                let message = format!("tensor `{name}` has {} values for the shape {shape:?}", values.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
            for piece in values.chunks(4096) {
                let mut bytes = [0; 4 * 4096];
                for (place, value) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(piece) {
                    *place = value.to_le_bytes();
                }
                out.write_all(&bytes[..4 * piece.len()])?;
            }
        }
        Ok(())
    })
}
