//! What can be wrong with the files of a model, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why a checkpoint cannot be opened, or a tensor of it cannot be read.
///
/// Every message names the file, what is wrong there and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("{}: {source}; check that the file exists and may be read", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The folder holds no weights in a format that can be read.
    #[error("{}: no weights here: looked for {looked_for}; {help}", path.display())]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// The names looked for.
        looked_for: &'static str,
        /// What to do.
        help: &'static str,
    },
    /// The file ends before what its header promises.
    #[error("{}: the file is {found} bytes, its header needs {needed}: it was cut short; fetch the file again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes that the header needs.
        needed: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The header itself makes no sense.
    #[error("{}: broken header: {reason}; fetch the file again, or save the model again", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The header describes a tensor in a way that cannot be true.
    #[error("{}: tensor `{tensor}`: {reason}; fetch the file again, or save the model again", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        reason: String,
    },
    /// Two tensors share bytes.
    #[error("{}: tensors `{first}` and `{second}` overlap in the file; fetch the file again, or save the model again", path.display())]
    Overlap {
        /// The file.
        path: PathBuf,
        /// The tensor that starts first.
        first: String,
        /// The tensor that starts inside it.
        second: String,
    },
    /// One name twice.
    #[error("{}: tensor `{tensor}` is there twice{also}; keep one of them", path.display())]
    Duplicate {
        /// The file of the second one.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Where the first one is, when that is another file.
        also: String,
    },
    /// The index names a file outside the model's folder.
    #[error("{}: `{shard}` is outside the model's folder ({reason}); a model's files stay in its folder: copy the file there and name it without a path", path.display())]
    OutsideFolder {
        /// The index, or the folder.
        path: PathBuf,
        /// The name as written.
        shard: String,
        /// How it leaves the folder.
        reason: String,
    },
    /// The index names a file that is not there.
    #[error("{}: the index names `{shard}`, which is not in the folder; fetch the missing file", path.display())]
    MissingShard {
        /// The index.
        path: PathBuf,
        /// The file's name.
        shard: String,
    },
    /// The model has no tensor of that name.
    #[error("{}: no tensor `{tensor}`{}; is this the model that the plan names?", path.display(), nearest.as_ref().map(|n| format!(" (the nearest is `{n}`)")).unwrap_or_default())]
    Missing {
        /// The file or folder.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// The tensor has another shape than the architecture says.
    #[error("{}: tensor `{tensor}` has the shape {found:?}, the model's config says {expected:?}; config and weights are of different models, or the file is not what it says", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The shape in the file.
        found: Vec<usize>,
        /// The shape that was asked for.
        expected: Vec<usize>,
    },
    /// The tensor's numbers are in a format that is not read here.
    #[error("{}: tensor `{tensor}` is stored as {stored}, which cannot be read as numbers; {help}", path.display())]
    Dtype {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// The format's name.
        stored: String,
        /// What to do.
        help: &'static str,
    },
    /// The caller asked for elements that the tensor does not have.
    #[error("{}: tensor `{tensor}` has {elements} elements; {start}..{end} was asked for, into room for {room}", path.display())]
    Range {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// Elements of the tensor.
        elements: usize,
        /// First element asked for.
        start: usize,
        /// One past the last element asked for.
        end: usize,
        /// Length of the slice to fill.
        room: usize,
    },
}

impl CheckpointError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
