//! Counted lengths on disk, by what they were counted from.

use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};

/// Changes when the way of counting does.
const VERSION: u8 = 1;

/// Where counted lengths are kept; `None` without a home.
pub(super) fn folder() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")))?;
    Some(cache.join("memspec").join("lengths"))
}

/// A name for these contents: 128 bits, enough that two files of one user do not share it.
pub(super) fn key(contents: &[&[u8]]) -> String {
    let half = |seed: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(seed);
        hasher.write_u8(VERSION);
        for content in contents {
            hasher.write_usize(content.len());
            hasher.write(content);
        }
        hasher.finish()
    };
    format!("{:016x}{:016x}", half(0), half(1))
}

/// The lengths that were kept under a key.
pub(super) fn read(folder: &Path, key: &str) -> Option<Vec<u64>> {
    let bytes = std::fs::read(folder.join(key)).ok()?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(4) {
        return None;
    }
    bytes.chunks_exact(4).map(|four| Some(u64::from(u32::from_le_bytes(four.try_into().ok()?)))).collect()
}

/// Keeps lengths, four bytes each.
pub(super) fn write(folder: &Path, key: &str, lengths: &[u64]) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let bytes: Vec<u8> =
        lengths.iter().flat_map(|&length| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()).collect();
    // written beside and renamed, so that no other process reads half of it
    let part = folder.join(format!("{key}.{}", std::process::id()));
    std::fs::write(&part, bytes)?;
    std::fs::rename(part, folder.join(key))
}
