//! The report as text: a line for each row, then tables of groups.

use std::fmt::Write;

use super::{Errors, Fate, Figure, Group, Outcome, Report, Row};
use crate::output::Style;

/// A line for each row, then errors by stack, model and method.
pub fn table(report: &Report, style: Style) -> String {
    let mut text = String::new();
    let name = |row: &Row| format!("{} {} {}", row.labels.stack, row.labels.model, row.labels.method);
    let wide = report.rows.iter().map(|row| name(row).len()).max().unwrap_or(0);
    let heading = format!(
        "{:>4} {:<wide$} {:>21} {:>21} {:>21}  batch x context",
        "row", "job", "allocated", "reserved", "process"
    );
    let _ = writeln!(text, "{}", style.bold(&heading));
    for row in &report.rows {
        let Some(prediction) = row.prediction() else {
            let _ = writeln!(text, "{}", style.bad(row.error().unwrap_or_default()));
            continue;
        };
        let figures =
            [prediction.allocated, prediction.reserved, prediction.process].map(|figure| of_figure(&figure, style));
        let outcome = prediction.outcome.map(|outcome| of_outcome(outcome, style)).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:>4} {:<wide$} {}  {}{outcome}",
            row.line,
            name(row),
            figures.join(" "),
            style.faint(&row.labels.title)
        );
    }
    let summary = &report.summary;
    if summary.all.allocated.rows + summary.all.reserved.rows > 0 {
        let _ = writeln!(text, "\nErrors: mean and largest absolute, share inside the interval, its mean width");
        groups(&mut text, style, "GPUs", [("one", &summary.one_gpu), ("several", &summary.several_gpus)]);
        let named = |groups: &'_ std::collections::BTreeMap<String, Group>| -> Vec<(String, Group)> {
            groups.iter().map(|(name, group)| (name.clone(), group.clone())).collect()
        };
        for (title, all) in [
            ("stack", named(&summary.by_stack)),
            ("model", named(&summary.by_model)),
            ("method", named(&summary.by_method)),
        ] {
            groups(&mut text, style, title, all.iter().map(|(name, group)| (name.as_str(), group)));
        }
    }
    let outcomes = summary.outcomes;
    if outcomes.rows > 0 {
        let _ = writeln!(
            text,
            "\n{} of {} outcomes right; {} said to fit that died, {} said to die that fit",
            outcomes.right, outcomes.rows, outcomes.wrong_fits, outcomes.wrong_ooms
        );
    }
    let failed = if summary.failed > 0 { format!(", {} not", summary.failed) } else { String::new() };
    let _ = writeln!(text, "\n{} rows predicted{failed}", summary.predicted);
    text
}

fn of_figure(figure: &Figure, style: Style) -> String {
    let gib = figure.predicted as f64 / (1u64 << 30) as f64;
    match figure.error() {
        None => format!("{gib:>8.3} GiB         "),
        Some(error) => {
            let error = format!("{:>+7.2} %", 100.0 * error);
            let error = if figure.inside() == Some(true) { error } else { style.bad(&error) };
            format!("{gib:>8.3} GiB{error}")
        }
    }
}

fn of_outcome(outcome: Outcome, style: Style) -> String {
    let word = |fate| if fate == Fate::Fits { "fits" } else { "oom" };
    match outcome.measured {
        None => format!("  {}", word(outcome.predicted)),
        Some(measured) if measured == outcome.predicted => format!("  {}", style.good(word(measured))),
        Some(measured) => {
            format!("  {}", style.bad(&format!("{}, measured {}", word(outcome.predicted), word(measured))))
        }
    }
}

fn groups<'a>(text: &mut String, style: Style, title: &str, groups: impl IntoIterator<Item = (&'a str, &'a Group)>) {
    let heading = format!("{title:<16} {:>4}  {:^33} {:^33} {:^33}", "rows", "allocated", "reserved", "process");
    let _ = writeln!(text, "\n{}", style.bold(heading.trim_end()));
    for (name, group) in groups.into_iter().filter(|(_, group)| group.rows > 0) {
        let errors = [group.allocated, group.reserved, group.process].map(of_errors);
        let _ = writeln!(text, "{name:<16} {:>4}  {}", group.rows, errors.join(" "));
    }
}

fn of_errors(errors: Errors) -> String {
    match (errors.mean, errors.worst, errors.inside, errors.width) {
        (Some(mean), Some(worst), Some(inside), Some(width)) => {
            let [mean, worst, inside, width] = [mean, worst, inside, width].map(|share| 100.0 * share);
            format!("{mean:>6.2} % {worst:>6.2} % {inside:>4.0} % {width:>5.1} %")
        }
        _ => format!("{:>33}", "-"),
    }
}
