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
