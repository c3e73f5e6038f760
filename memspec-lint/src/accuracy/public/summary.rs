//! How far predictions of published figures were off, by source and grade.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::super::{Fate, Outcome};
use super::{Metric, PublicRow, VerdictRow};

/// Published figures of a source or a grade. Errors are absolute shares: 0.01 is 1 %.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PublicGroup {
    /// Rows.
    pub rows: usize,
    /// Those that say enough, and ask for what an engine costs.
    pub specific: usize,
    /// Those of them with a figure.
    pub figures: usize,
    /// Median error; `null` where there is no figure.
    pub median: Option<f64>,
    /// Mean error.
    pub mean: Option<f64>,
    /// Largest error.
    pub worst: Option<f64>,
    /// Median error by what the figures count.
    pub by_metric: BTreeMap<Metric, f64>,
    /// Why rows were left out, and how many.
    pub skipped: BTreeMap<String, usize>,
}

/// Predicted fates beside published ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdicts {
    /// Rows.
    pub rows: usize,
    /// Those that say enough, and ask for what an engine costs.
    pub specific: usize,
    /// Predicted right.
    pub right: usize,
    /// Further than 2 % from the limit.
    pub clear: usize,
    /// Those of them predicted right.
    pub clear_right: usize,
    /// Said to fit, and died.
    pub wrong_fits: usize,
}

impl PublicGroup {
    /// The group of some rows.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a PublicRow>) -> Self {
        let mut group = Self::default();
        let mut errors: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
        for row in rows {
            group.rows += 1;
            match row.prediction() {
                Some(prediction) => {
                    group.specific += 1;
                    errors.entry(prediction.metric).or_default().extend(prediction.error.map(f64::abs));
                }
                None => *group.skipped.entry(row.skipped().unwrap_or_default().to_owned()).or_default() += 1,
            }
        }
        let mut all: Vec<f64> = errors.values().flatten().copied().collect();
        group.figures = all.len();
        group.mean = (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64);
        group.worst = all.iter().copied().max_by(f64::total_cmp);
        group.median = median(&mut all);
        group.by_metric =
            errors.into_iter().filter_map(|(metric, mut errors)| Some((metric, median(&mut errors)?))).collect();
        group
    }
}

/// By source and grade.
pub(super) fn by_source(rows: &[PublicRow]) -> BTreeMap<String, PublicGroup> {
    let name = |row: &PublicRow| format!("{} ({})", row.source_set, row.grade);
    let names: std::collections::BTreeSet<String> = rows.iter().map(name).collect();
    let group = |wanted: &String| PublicGroup::of(rows.iter().filter(|row| name(row) == *wanted));
    names.into_iter().map(|name| (name.clone(), group(&name))).collect()
}

/// By grade.
pub(super) fn by_grade(rows: &[PublicRow]) -> BTreeMap<String, PublicGroup> {
    let grades: std::collections::BTreeSet<&String> = rows.iter().map(|row| &row.grade).collect();
    let group = |grade: &String| PublicGroup::of(rows.iter().filter(|row| row.grade == *grade));
    grades.into_iter().map(|grade| (grade.clone(), group(grade))).collect()
}

impl Verdicts {
    /// The verdicts of some rows.
    pub fn of(rows: &[VerdictRow]) -> Self {
        let known: Vec<Outcome> = rows.iter().filter_map(|row| row.outcome).collect();
        let right = |outcome: &&Outcome| outcome.measured == Some(outcome.predicted);
        let clear = || known.iter().filter(|outcome| !outcome.near_edge);
        let died = |outcome: &&Outcome| outcome.predicted == Fate::Fits && outcome.measured == Some(Fate::Oom);
        Self {
            rows: rows.len(),
            specific: known.len(),
            right: known.iter().filter(right).count(),
            clear: clear().count(),
            clear_right: clear().filter(right).count(),
            wrong_fits: known.iter().filter(died).count(),
        }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(values[middle - 1].midpoint(values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
    }
}
