//! Models that memspec knows by name.

use super::Architecture;

/// The model of this hub name, short name or alias; case does not matter.
pub fn get(name: &str) -> Option<Architecture> {
    let _ = name;
    None
}

/// The short names, in alphabetical order.
pub fn names() -> Vec<&'static str> {
    Vec::new()
}

/// Up to three hub names that look like `name`, the nearest first.
pub fn nearest(name: &str) -> Vec<String> {
    super::nearest(name, names())
}
