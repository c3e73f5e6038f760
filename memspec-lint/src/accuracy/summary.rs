//! How far predictions were off: of all rows, and by stack, model and method.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Fate, Figure, Labels, Prediction, Row};

/// How far the predictions of a file were off. Errors and widths are shares: 0.01 is 1 %.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Summary {
    /// Rows that were predicted.
    pub predicted: usize,
    /// Rows that were not.
    pub failed: usize,
    /// All predicted rows.
    pub all: Group,
    /// Those of one GPU.
    pub one_gpu: Group,
    /// Those of several.
    pub several_gpus: Group,
    /// By the stack that ran.
    pub by_stack: BTreeMap<String, Group>,
    /// By model.
    pub by_model: BTreeMap<String, Group>,
    /// By method and quantization.
    pub by_method: BTreeMap<String, Group>,
    /// Of rows with a limit.
    pub outcomes: Outcomes,
}

/// A group of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Group {
    /// Rows of it that were predicted.
    pub rows: usize,
    /// Peak of live tensors.
    pub allocated: Errors,
    /// The allocator's segments.
    pub reserved: Errors,
    /// The process.
    pub process: Errors,
    /// By the row's name of a phase.
    pub phases: BTreeMap<&'static str, PhaseErrors>,
}

/// Errors of a figure over the rows that measured it; all `null` where none did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Errors {
    /// Rows that measured it.
    pub rows: usize,
    /// Mean absolute error.
    pub mean: Option<f64>,
    /// Largest absolute error.
    pub worst: Option<f64>,
    /// Share of rows inside the interval.
    pub inside: Option<f64>,
    /// Mean width of the interval over the prediction.
    pub width: Option<f64>,
    /// The widest.
    pub widest: Option<f64>,
}

/// Errors of a phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PhaseErrors {
    /// Rows that measured it, and something in it.
    pub rows: usize,
    /// Mean absolute error.
    pub mean: Option<f64>,
    /// Largest absolute error.
    pub worst: Option<f64>,
}

/// Predictions under a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Outcomes {
    /// Rows whose outcome was measured.
    pub rows: usize,
    /// Those predicted right.
    pub right: usize,
    /// Said to fit, and died.
    pub wrong_fits: usize,
    /// Said to die, and fit.
    pub wrong_ooms: usize,
    /// Rows further than 2 % from the limit at which the prediction changes.
    pub clear: usize,
    /// Those of them predicted right.
    pub clear_right: usize,
}

impl Summary {
    /// The summary of rows.
    pub fn of(rows: &[Row]) -> Summary {
        let predicted: Vec<(&Labels, &Prediction)> =
            rows.iter().filter_map(|row| Some((&row.labels, row.prediction()?))).collect();
        let group = |keep: &dyn Fn(&Labels) -> bool| {
            let rows: Vec<&Prediction> = predicted.iter().filter(|(labels, _)| keep(labels)).map(|(_, p)| *p).collect();
            Group::of(&rows)
        };
        let by = |label: &dyn Fn(&Labels) -> String| {
            let names: std::collections::BTreeSet<String> = predicted.iter().map(|(labels, _)| label(labels)).collect();
            names.into_iter().map(|name| (name.clone(), group(&|labels| label(labels) == name))).collect()
        };
        Summary {
            predicted: predicted.len(),
            failed: rows.len() - predicted.len(),
            all: group(&|_| true),
            one_gpu: group(&|labels| labels.world == 1),
            several_gpus: group(&|labels| labels.world > 1),
            by_stack: by(&|labels| labels.stack.clone()),
            by_model: by(&|labels| labels.model.clone()),
            by_method: by(&|labels| labels.method.clone()),
            outcomes: Outcomes::of(&predicted),
        }
    }
}

impl Group {
    fn of(rows: &[&Prediction]) -> Group {
        let mut phases: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for (name, figure) in rows.iter().flat_map(|row| &row.phases) {
            phases.entry(name).or_default().extend(figure.error());
        }
        Group {
            rows: rows.len(),
            allocated: Errors::of(rows.iter().map(|row| row.allocated)),
            reserved: Errors::of(rows.iter().map(|row| row.reserved)),
            process: Errors::of(rows.iter().map(|row| row.process)),
            phases: phases
                .into_iter()
                .filter(|(_, errors)| !errors.is_empty())
                .map(|(name, errors)| {
                    (name, PhaseErrors { rows: errors.len(), mean: mean(&errors), worst: worst(&errors) })
                })
                .collect(),
        }
    }
}

impl Errors {
    fn of(figures: impl Iterator<Item = Figure>) -> Errors {
        let figures: Vec<Figure> = figures.filter(|figure| figure.error().is_some()).collect();
        let errors: Vec<f64> = figures.iter().filter_map(Figure::error).collect();
        let widths: Vec<f64> = figures.iter().map(Figure::width).collect();
        let inside: Vec<f64> =
            figures.iter().filter_map(Figure::inside).map(|inside| f64::from(u8::from(inside))).collect();
        Errors {
            rows: figures.len(),
            mean: mean(&errors),
            worst: worst(&errors),
            inside: mean(&inside),
            width: mean(&widths),
            widest: worst(&widths),
        }
    }
}

impl Outcomes {
    fn of(rows: &[(&Labels, &Prediction)]) -> Outcomes {
        let known: Vec<(Fate, Fate, bool)> = rows
            .iter()
            .filter_map(|(_, row)| row.outcome)
            .filter_map(|outcome| Some((outcome.predicted, outcome.measured?, !outcome.near_edge)))
            .collect();
        let count = |predicted, measured| known.iter().filter(|one| (one.0, one.1) == (predicted, measured)).count();
        Outcomes {
            rows: known.len(),
            right: count(Fate::Fits, Fate::Fits) + count(Fate::Oom, Fate::Oom),
            wrong_fits: count(Fate::Fits, Fate::Oom),
            wrong_ooms: count(Fate::Oom, Fate::Fits),
            clear: known.iter().filter(|one| one.2).count(),
            clear_right: known.iter().filter(|one| one.2 && one.0 == one.1).count(),
        }
    }
}

/// The mean of absolute values.
fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().map(|value| value.abs()).sum::<f64>() / values.len() as f64)
}

/// The largest absolute value.
fn worst(values: &[f64]) -> Option<f64> {
    values.iter().map(|value| value.abs()).max_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use super::super::{Outcome, Result};
    use super::*;

    fn row(stack: &str, world: u64, predicted: u64, measured: u64, outcome: Option<(Fate, Fate, bool)>) -> Row {
        let figure = Figure { predicted, low: predicted - 5, high: predicted + 5, measured: Some(measured) };
        let outcome =
            outcome.map(|(predicted, measured, near_edge)| Outcome { predicted, measured: Some(measured), near_edge });
        let unknown = Figure { measured: None, ..figure };
        Row {
            job: None,
            result: Result::Predicted(Box::new(Prediction {
                allocated: figure,
                reserved: figure,
                process: unknown,
                phases: Vec::new(),
                outcome,
            })),
            line: 1,
            limit: None,
            labels: Labels { stack: stack.to_owned(), world, ..Labels::default() },
        }
    }

    #[test]
    fn errors_are_absolute_and_grouped() {
        let summary = Summary::of(&[
            row("trl", 1, 98, 100, None),
            row("trl", 1, 104, 100, None),
            row("unsloth", 2, 90, 100, None),
        ]);
        let one = summary.one_gpu.allocated;
        assert_eq!((one.rows, one.inside), (2, Some(1.0)));
        assert!((one.mean.unwrap() - 0.03).abs() < 1e-9 && (one.worst.unwrap() - 0.04).abs() < 1e-9);
        assert!((one.widest.unwrap() - 10.0 / 98.0).abs() < 1e-9);
        assert_eq!(summary.several_gpus.reserved.inside, Some(0.0));
        assert_eq!(summary.by_stack.keys().collect::<Vec<_>>(), ["trl", "unsloth"]);
        assert_eq!(summary.all.process, Errors::default());
    }

    #[test]
    fn a_fits_that_dies_is_counted_apart() {
        use Fate::{Fits, Oom};
        let rows = [(Fits, Fits, false), (Oom, Oom, false), (Fits, Oom, false), (Oom, Fits, true)];
        let outcomes = Summary::of(&rows.map(|outcome| row("trl", 1, 100, 100, Some(outcome)))).outcomes;
        let expected = Outcomes { rows: 4, right: 2, wrong_fits: 1, wrong_ooms: 1, clear: 3, clear_right: 2 };
        assert_eq!(outcomes, expected);
    }
}
