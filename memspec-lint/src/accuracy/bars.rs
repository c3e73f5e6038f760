//! What the predictions must reach.

use super::public::{PublicGroup, PublicReport, VerdictRow, Verdicts};
use super::{Errors, Group, Report};

/// A figure, what it must reach, and what it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What is held.
    pub figure: String,
    /// In words.
    pub bar: String,
    /// What was reached, in words.
    pub reached: String,
    /// It holds.
    pub held: bool,
}

/// Phases that are held to a bar: what is alive after loading, and the peaks of the others.
const HELD: [(&str, &str); 5] = [
    ("load_alloc", "loaded"),
    ("load_peak", "load"),
    ("fwd_peak", "forward"),
    ("bwd_peak", "backward"),
    ("opt_peak", "optimizer"),
];

/// The bars over measured rows and over rows with limits.
pub fn bars(measured: &Report, limits: &Report) -> Vec<Bar> {
    let summary = &measured.summary;
    let mut bars = vec![
        peak("peak allocated, one GPU", summary.one_gpu.allocated, 0.002, 0.015),
        peak("peak allocated, two GPUs", summary.several_gpus.allocated, 0.01, 0.04),
    ];
    bars.extend(HELD.map(|(key, words)| phase(&summary.one_gpu, key, words)));
    for (name, errors) in [("reserved", summary.all.reserved), ("process", summary.all.process)] {
        bars.push(interval(name, errors));
    }
    bars.push(outcomes(limits));
    bars.push(Bar {
        figure: "rows that are predicted".to_owned(),
        bar: "all".to_owned(),
        reached: format!("{} of {}", summary.predicted, summary.predicted + summary.failed),
        held: summary.failed == 0 && limits.summary.failed == 0,
    });
    bars
}

/// The bars over published figures and fates.
pub fn public_bars(figures: &PublicReport, verdicts: &[VerdictRow]) -> Vec<Bar> {
    const MEDIAN: f64 = 0.06;
    const RIGHT: f64 = 0.95;
    let best = PublicGroup::of(figures.rows.iter().filter(|row| row.grade == "A"));
    let fates = Verdicts::of(verdicts);
    vec![
        Bar {
            figure: "published figures of grade A".to_owned(),
            bar: format!("median error at most {}", percent(MEDIAN)),
            reached: format!("{}, {} of {} rows", percent(of(best.median)), best.figures, best.rows),
            held: of(best.median) <= MEDIAN,
        },
        Bar {
            figure: "published runs that fit or died".to_owned(),
            bar: format!(
                "right on {} of rows further than 2 % from the edge; never a \"fits\" that dies",
                percent(RIGHT)
            ),
            reached: format!(
                "{} of {} right ({} of {} of all, {} of {} rows say enough); {} \"fits\" died",
                fates.clear_right,
                fates.clear,
                fates.right,
                fates.specific,
                fates.specific,
                fates.rows,
                fates.wrong_fits
            ),
            held: fates.specific > 0 && fates.clear_right as f64 >= RIGHT * fates.clear as f64 && fates.wrong_fits == 0,
        },
    ]
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Nothing measured holds no bar.
fn of(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::INFINITY)
}

fn peak(figure: &str, errors: Errors, mean: f64, worst: f64) -> Bar {
    Bar {
        figure: figure.to_owned(),
        bar: format!("mean error at most {}, worst {}", percent(mean), percent(worst)),
        reached: format!("{}, {}", percent(of(errors.mean)), percent(of(errors.worst))),
        held: of(errors.mean) <= mean && of(errors.worst) <= worst,
    }
}

fn phase(group: &Group, key: &str, words: &str) -> Bar {
    const MEAN: f64 = 0.003;
    let mean = of(group.phases.get(key).and_then(|errors| errors.mean));
    Bar {
        figure: format!("phase {words} (`{key}`), one GPU"),
        bar: format!("mean error at most {}", percent(MEAN)),
        reached: percent(mean),
        held: mean <= MEAN,
    }
}

fn interval(name: &str, errors: Errors) -> Bar {
    const MEAN: f64 = 0.02;
    const INSIDE: f64 = 0.95;
    const WIDTH: f64 = 0.08;
    let inside = errors.inside.unwrap_or(0.0);
    Bar {
        figure: name.to_owned(),
        bar: format!(
            "mean error at most {}, {} of rows inside an interval of at most {}",
            percent(MEAN),
            percent(INSIDE),
            percent(WIDTH)
        ),
        reached: format!(
            "{}, {} inside, at most {} wide",
            percent(of(errors.mean)),
            percent(inside),
            percent(of(errors.widest))
        ),
        held: of(errors.mean) <= MEAN && inside >= INSIDE && of(errors.widest) <= WIDTH,
    }
}

fn outcomes(limits: &Report) -> Bar {
    const RIGHT: f64 = 0.95;
    let outcomes = limits.summary.outcomes;
    Bar {
        figure: "fits or dies under a limit".to_owned(),
        bar: format!("right on {} of rows further than 2 % from the edge; never a \"fits\" that dies", percent(RIGHT)),
        reached: format!(
            "{} of {} right ({} of {} of all); {} \"fits\" died",
            outcomes.clear_right, outcomes.clear, outcomes.right, outcomes.rows, outcomes.wrong_fits
        ),
        held: outcomes.rows > 0
            && outcomes.clear_right as f64 >= RIGHT * outcomes.clear as f64
            && outcomes.wrong_fits == 0,
    }
}
