//! Predicting a row.

use std::collections::BTreeMap;

use memspec::cost::{Estimate, Interval, PhaseName, estimate};
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use serde_json::Value;
use serde_json::value::RawValue;

use super::row::labels;
use super::{Fate, Figure, Labels, Measured, Outcome, PHASES, PhaseFigure, Prediction, ReadRow, Result, Row};

/// How near to the limit at which a run just fits an outcome is anyone's guess.
const EDGE: f64 = 0.02;

/// Predicts the row on a line of a file.
pub fn predict(line: usize, text: &str) -> Row {
    let failed = |job: Option<Box<RawValue>>, labels: Labels, error: String| Row {
        job,
        result: Result::Failed { error: format!("row {line}: {error}") },
        line,
        limit: None,
        labels,
    };
    let value = match serde_json::from_str::<Value>(text) {
        Ok(value) => value,
        Err(error) => return failed(None, Labels::default(), format!("it is not JSON: {error}")),
    };
    // The job's own text, so that it is echoed to the last digit.
    let written: BTreeMap<String, &RawValue> = serde_json::from_str(text).unwrap_or_default();
    let (job, labels) = (written.get("job").map(|job| (*job).to_owned()), labels(&value["job"]));
    let row = match ReadRow::read(&value) {
        Ok(row) => row,
        Err(error) => return failed(job, labels, error),
    };
    let setup = match row.job.setup(&row.gpu) {
        Ok(setup) => setup,
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            return failed(job, labels, said.join("; "));
        }
    };
    match estimate(&setup) {
        Err(error) => failed(job, labels, error.to_string()),
        Ok(estimate) => {
            let mut prediction = prediction(&estimate, &row.measured);
            prediction.outcome = outcome(&setup, &estimate, row.measured.fate);
            let limit = setup.budget.allocator.map(|limit| limit.0);
            Row { job, result: Result::Predicted(Box::new(prediction)), line, limit, labels }
        }
    }
}

fn prediction(estimate: &Estimate, measured: &Measured) -> Prediction {
    let figure = |interval: Interval, measured| Figure {
        predicted: interval.bytes,
        low: interval.low,
        high: interval.high,
        measured,
    };
    let predicted = phases(estimate);
    Prediction {
        allocated: figure(training_peak(estimate), measured.allocated),
        reserved: figure(estimate.peak.reserved, measured.reserved),
        process: figure(estimate.peak.process, measured.process),
        phases: PHASES
            .iter()
            .zip(predicted)
            .zip(measured.phases)
            .map(|((name, predicted), measured)| (*name, PhaseFigure { predicted, measured }))
            .collect(),
        outcome: None,
    }
}

/// Whether it fits, of rows that ask.
fn outcome(setup: &Setup, estimate: &Estimate, measured: Option<Fate>) -> Option<Outcome> {
    let fate = |estimate: &Estimate| if estimate.fits && estimate.oom.is_none() { Fate::Fits } else { Fate::Oom };
    let predicted = fate(estimate);
    let near = |limit: Bytes, factor: f64| {
        let mut setup = setup.clone();
        setup.budget.allocator = Some(Bytes((limit.0 as f64 * factor) as u64));
        memspec::cost::estimate(&setup).is_ok_and(|estimate| fate(&estimate) != predicted)
    };
    let limit = setup.budget.allocator;
    (limit.is_some() || measured.is_some()).then(|| Outcome {
        predicted,
        measured,
        near_edge: limit.is_some_and(|limit| near(limit, 1.0 - EDGE) || near(limit, 1.0 + EDGE)),
    })
}

/// The peak that a row has: loading and building the trainer come before its counter starts.
fn training_peak(estimate: &Estimate) -> Interval {
    let whole = estimate.peak.allocated;
    let before = [PhaseName::Load, PhaseName::Init];
    if !before.contains(&estimate.peak.phase) {
        return whole;
    }
    let later = estimate.phases.iter().filter(|phase| !before.contains(&phase.name));
    let Some(bytes) = later.map(|phase| phase.allocated_bytes).max() else { return whole };
    let share = |end: u64| (bytes as f64 * (end as f64 / whole.bytes.max(1) as f64)) as u64;
    Interval { bytes, low: share(whole.low).min(bytes), high: share(whole.high).max(bytes) }
}

/// In the order of [`PHASES`].
fn phases(estimate: &Estimate) -> [Option<u64>; PHASES.len()] {
    let of = |name: PhaseName| estimate.phases.iter().find(|phase| phase.name == name);
    let peak = |name| of(name).map(|phase| phase.allocated_bytes);
    let after = |name| of(name).map(|phase| phase.after_bytes);
    let ready = after(PhaseName::Init).or(after(PhaseName::Load));
    [
        after(PhaseName::Load),
        peak(PhaseName::Load),
        ready,
        // The script's counter of this peak runs from the start of loading.
        peak(PhaseName::Load).max(peak(PhaseName::Init)),
        peak(PhaseName::Prepare).or(ready),
        after(PhaseName::Prepare).or(ready),
        // A row's forward ends with the loss.
        peak(PhaseName::Forward).max(peak(PhaseName::Loss)),
        after(PhaseName::Loss).or(after(PhaseName::Forward)),
        peak(PhaseName::Backward),
        after(PhaseName::Backward),
        peak(PhaseName::Optimizer),
        after(PhaseName::Optimizer),
        peak(PhaseName::Evaluate),
        after(PhaseName::Evaluate),
        peak(PhaseName::Save),
        after(PhaseName::Save),
        peak(PhaseName::Merge),
        after(PhaseName::Merge),
    ]
}

#[cfg(test)]
mod tests {
    use memspec::cost::{Host, Peak, Phase};

    use super::*;

    /// An estimate whose phases have these peaks and ends.
    fn estimate_of(phases: &[(PhaseName, u64, u64)], peak: PhaseName) -> Estimate {
        let phases: Vec<Phase> = phases
            .iter()
            .map(|&(name, allocated_bytes, after_bytes)| Phase { name, allocated_bytes, after_bytes })
            .collect();
        let bytes = phases.iter().map(|phase| phase.allocated_bytes).max().unwrap();
        let interval = Interval { bytes, low: bytes - bytes / 10, high: bytes + bytes / 10 };
        Estimate {
            name: String::new(),
            fits: true,
            oom: None,
            limit_bytes: 1000,
            device: String::new(),
            measured: true,
            peak: Peak { phase: peak, allocated: interval, reserved: interval, process: interval },
            phases,
            at_peak: Vec::new(),
            host: Host::NONE,
        }
    }

    #[test]
    fn a_row_names_the_ends_and_peaks_of_phases() {
        use PhaseName::{Backward, Forward, Init, Load, Optimizer};
        let phases =
            [(Load, 900, 100), (Init, 120, 110), (Forward, 300, 250), (Backward, 400, 130), (Optimizer, 150, 140)];
        let measured = Measured { allocated: Some(500), process: Some(800), ..Measured::default() };
        let prediction = prediction(&estimate_of(&phases, Load), &measured);
        let predicted: Vec<u64> = prediction.phases.iter().filter_map(|(_, figure)| figure.predicted).collect();
        assert_eq!(predicted, [100, 900, 110, 900, 110, 110, 300, 250, 400, 130, 150, 140]);

        // What loading took is no part of a row's peak, and of what was reserved it is.
        let allocated = prediction.allocated;
        assert_eq!((allocated.predicted, allocated.low, allocated.high), (400, 360, 440));
        assert_eq!((allocated.error(), allocated.inside()), (Some(-0.2), Some(false)));
        assert_eq!((prediction.process.predicted, prediction.process.inside()), (900, Some(false)));
        assert_eq!(prediction.reserved.error(), None);
    }

    #[test]
    fn a_peak_in_training_is_the_peak() {
        let phases = [(PhaseName::Load, 100, 100), (PhaseName::Forward, 300, 250)];
        let figure = prediction(&estimate_of(&phases, PhaseName::Forward), &Measured::default()).allocated;
        assert_eq!((figure.predicted, figure.low, figure.high, figure.measured), (300, 270, 330, None));
    }
}
