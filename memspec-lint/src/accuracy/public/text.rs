//! The report on published figures as text.

use std::fmt::Write;

use super::super::Fate;
use super::super::text::signed;
use super::{LongestRow, PublicGroup, PublicReport, Published, VerdictRow};
use crate::output::Style;

const GIB: f64 = (1u64 << 30) as f64;

/// A line for each row, then errors by source and grade.
pub fn table(report: &PublicReport, style: Style) -> String {
    let mut text = String::new();
    let wide = report.rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let heading = format!("{:<wide$} {:>13} {:>13} {:>9}  run", "row", "predicted", "published", "error");
    let _ = writeln!(text, "{}", style.bold(&heading));
    for row in &report.rows {
        let Some(prediction) = row.prediction() else {
            let _ = writeln!(text, "{:<wide$} {}", row.id, style.faint(row.skipped().unwrap_or_default()));
            continue;
        };
        let published = prediction.published.map_or_else(|| "died".to_owned(), gib);
        let error = prediction.error.map(signed).unwrap_or_default();
        let assumed =
            if prediction.assumed.is_empty() { String::new() } else { format!("; {}", prediction.assumed.join("; ")) };
        let _ = writeln!(
            text,
            "{:<wide$} {:>9.3} GiB {published:>13} {error:>9}  {}{}",
            row.id,
            prediction.predicted as f64 / GIB,
            row.title,
            style.faint(&assumed)
        );
    }
    let heading = format!(
        "\n{:<28} {:>5} {:>9} {:>9} {:>9} {:>9}",
        "source and grade", "rows", "predicted", "median", "mean", "worst"
    );
    let _ = writeln!(text, "{}", style.bold(&heading));
    for (name, group) in report.by_source.iter().chain(&report.by_grade) {
        let _ = writeln!(text, "{name:<28} {}", errors(group));
    }
    text
}

fn errors(group: &PublicGroup) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", 100.0 * share));
    format!(
        "{:>5} {:>9} {:>9} {:>9} {:>9}",
        group.rows,
        group.specific,
        percent(group.median),
        percent(group.mean),
        percent(group.worst)
    )
}

/// A published figure, or its range, in GiB.
pub(super) fn gib(published: Published) -> String {
    let (low, high) = (published.low as f64 / GIB, published.high as f64 / GIB);
    if high - low < 0.005 * high { format!("{:.3} GiB", low.midpoint(high)) } else { format!("{low:.1}-{high:.1} GiB") }
}

/// A line for each fate.
pub fn verdicts(rows: &[VerdictRow], style: Style) -> String {
    let mut text = String::new();
    for row in rows {
        let line = match row.outcome {
            None => style.faint(row.skipped.as_deref().unwrap_or_default()),
            Some(outcome) => {
                let word = |fate| if fate == Fate::Fits { "fits" } else { "oom" };
                let right = outcome.measured == Some(outcome.predicted);
                let edge = if row.near_edge { " (within 2 %)" } else { "" };
                let said = format!("{}{edge}, {}", word(outcome.predicted), outcome.measured.map_or("?", word));
                if right { style.good(&said) } else { style.bad(&said) }
            }
        };
        let _ = writeln!(text, "{} {}: {line}", row.source, row.title);
    }
    let sum = super::Verdicts::of(rows);
    let _ = writeln!(
        text,
        "\n{} of {} say enough; {} right, {} of {} further than 2 % from the edge; {} said to fit that died",
        sum.specific, sum.rows, sum.right, sum.clear_right, sum.clear, sum.wrong_fits
    );
    text
}

/// A line for each maximal context.
pub fn longest(rows: &[LongestRow]) -> String {
    let tokens = |tokens: Option<u64>| tokens.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string());
    rows.iter()
        .map(|row| {
            let skipped = row.skipped.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            format!("{}: published {}, found {}{skipped}\n", row.title, tokens(row.published), tokens(row.found))
        })
        .collect()
}
