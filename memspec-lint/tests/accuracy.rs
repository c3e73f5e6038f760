//! The bars of docs/accuracy.md, held on the measured rows, and the page itself.

mod common;

use std::path::Path;

use common::fresh;
use memspec_lint::accuracy::page::{self, Measured, Public};
use memspec_lint::accuracy::public::{assess_longest, assess_public, assess_verdicts};
use memspec_lint::accuracy::{Bar, Report, assess, bars, public_bars};

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../data").join(name)).unwrap()
}

fn data(name: &str) -> Report {
    assess(&text(name))
}

fn published() -> Public {
    Public {
        figures: assess_public(&text("measured_public.csv")).unwrap(),
        verdicts: assess_verdicts(&text("verdicts_public.csv")).unwrap(),
        longest: assess_longest(&text("max_context_public.csv")).unwrap(),
    }
}

fn held(bars: &[Bar]) {
    let missed: Vec<String> = bars
        .iter()
        .filter(|bar| !bar.held)
        .map(|bar| format!("{}: {}, reached {}", bar.figure, bar.bar, bar.reached))
        .collect();
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}

#[test]
fn predictions_reach_their_bars() {
    held(&bars(&data("measured.jsonl"), &data("limits.jsonl")));
}

#[test]
fn published_figures_reach_their_bars() {
    let published = published();
    held(&public_bars(&published.figures, &published.verdicts));

    // A T4 under a script that says everything: each phase, and what the allocator reserves.
    let rows = published.figures.rows.iter().filter(|row| row.source_set == "fitcheck");
    let phases: Vec<f64> = rows
        .flat_map(|row| &row.prediction().unwrap_or_else(|| panic!("{}: {:?}", row.id, row.skipped())).phases)
        .filter(|(name, _)| !matches!(*name, "reserved" | "process"))
        .map(|(_, figure)| figure.error().unwrap().abs())
        .collect();
    assert_eq!(phases.len(), 4 * 69);
    assert!(phases.iter().sum::<f64>() / phases.len() as f64 <= 0.005, "{phases:?}");
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
    let outcomes = data("holdout_limits.jsonl").summary.outcomes;
    assert_eq!(outcomes.wrong_fits, 0);
    assert!(outcomes.clear_right as f64 >= 0.95 * outcomes.clear as f64, "{outcomes:?}");
}

#[test]
fn what_was_added_later_is_predicted_as_well() {
    let summary = data("features.jsonl").summary;
    assert!(summary.predicted >= 205, "{} rows", summary.predicted);
    let (one, several) = (summary.one_gpu, summary.several_gpus);
    assert!(one.allocated.mean.unwrap() <= 0.002 && one.allocated.worst.unwrap() <= 0.015, "{:?}", one.allocated);
    assert!(several.allocated.mean.unwrap() <= 0.01, "{:?}", several.allocated);
    assert!(several.allocated.worst.unwrap() <= 0.04, "{:?}", several.allocated);
    assert!(one.reserved.mean.unwrap() <= 0.02, "{:?}", one.reserved);
    // The intervals are wider where a kind of run is known less well, and then they hold.
    for errors in [one.reserved, one.process, several.reserved, several.process] {
        assert!(errors.inside.unwrap() >= 0.95, "{errors:?}");
    }
    // Evaluation, saving and merging.
    for (name, rows) in [("eval_peak", 25), ("save_peak", 25), ("merge_peak", 15)] {
        let errors = one.phases[name];
        assert!(errors.rows >= rows && errors.mean.unwrap() <= 0.003, "{name}: {errors:?}");
    }
}

#[test]
fn generated_files_are_fresh() {
    let own = Measured {
        rows: data("measured.jsonl"),
        limits: data("limits.jsonl"),
        holdout: data("holdout.jsonl"),
        holdout_limits: data("holdout_limits.jsonl"),
        features: data("features.jsonl"),
    };
    fresh("docs/accuracy.md", &page::page(&own, &published()));
}
