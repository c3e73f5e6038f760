//! The bars of docs/accuracy.md, held on the measured rows, and the page itself.

mod common;

use std::path::Path;

use common::fresh;
use memspec_lint::accuracy::{Report, assess, bars, page};

fn data(name: &str) -> Report {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name);
    assess(&std::fs::read_to_string(path).unwrap())
}

#[test]
fn predictions_reach_their_bars() {
    let bars = bars(&data("measured.jsonl"), &data("limits.jsonl"));
    let missed: Vec<String> = bars
        .iter()
        .filter(|bar| !bar.held)
        .map(|bar| format!("{}: {}, reached {}", bar.figure, bar.bar, bar.reached))
        .collect();
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

#[test]
fn generated_files_are_fresh() {
    fresh("docs/accuracy.md", &page::page(&data("measured.jsonl"), &data("limits.jsonl")));
}
