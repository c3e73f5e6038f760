//! The example of the README is the one of this crate's own page, where it is run as a doctest.
#![cfg(feature = "lang")]

use std::path::Path;

fn rust(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("```rust\n")?;
    Some(rest.split_once("```")?.0)
}

#[test]
fn both_readmes_show_the_same_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    // A packed crate has no README above it.
    let Ok(project) = std::fs::read_to_string(folder.join("../README.md")) else { return };
    let own = std::fs::read_to_string(folder.join("README.md")).unwrap();
    assert!(rust(&own).is_some());
    assert_eq!(rust(&project), rust(&own));
}
