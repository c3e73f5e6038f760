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
fn configurations_measured_later_are_predicted_as_well() {
    let summary = data("holdout.jsonl").summary;
    let group = summary.one_gpu;
    assert!(group.rows >= 75, "{} rows", group.rows);
    assert!(group.allocated.mean.unwrap() <= 0.002 && group.allocated.worst.unwrap() <= 0.015, "{:?}", group.allocated);
    for errors in [group.reserved, group.process] {
        assert!(errors.mean.unwrap() <= 0.02 && errors.inside.unwrap() >= 0.95, "{errors:?}");
    }
    // Evaluation, saving and merging.
    for (name, rows) in [("eval_peak", 25), ("save_peak", 25), ("merge_peak", 15)] {
        let errors = group.phases[name];
        assert!(errors.rows >= rows && errors.mean.unwrap() <= 0.003, "{name}: {errors:?}");
    }
    let outcomes = data("holdout_limits.jsonl").summary.outcomes;
    assert_eq!(outcomes.wrong_fits, 0);
    assert!(outcomes.clear_right as f64 >= 0.95 * outcomes.clear as f64, "{outcomes:?}");
}

#[test]
fn generated_files_are_fresh() {
    let (holdout, holdout_limits) = (data("holdout.jsonl"), data("holdout_limits.jsonl"));
    let page = page::page(&data("measured.jsonl"), &data("limits.jsonl"), &holdout, &holdout_limits);
    fresh("docs/accuracy.md", &page);
}
