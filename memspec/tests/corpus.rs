//! The texts that fuzzing has come across, through the same checks: see `fuzz/README.md`.
#![cfg(all(feature = "lang", feature = "yaml"))]

#[path = "laws/foreign.rs"]
mod foreign;
mod laws;

use std::fs;
use std::path::Path;

/// Checks each text of the target's corpus; gives how many there are.
fn replay(target: &str, check: impl Fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    // a packed crate comes without them
    let Ok(texts) = fs::read_dir(&folder) else { return };
    let mut count = 0;
    for entry in texts {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        check(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
        count += 1;
    }
    assert!(count > 20, "{} has {count} texts", folder.display());
}

#[test]
fn mem() {
    replay("mem", |text| _ = laws::mem(text));
}

#[test]
fn yaml() {
    replay("yaml", laws::yaml);
}

#[test]
fn foreign() {
    replay("foreign", foreign::check);
}
