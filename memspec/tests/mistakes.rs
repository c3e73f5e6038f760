//! Real mistakes, and what their authors are told: code, place, message, help, repair. What `memspec-lint` prints of them is in its own tests.
#![cfg(feature = "lang")]

#[path = "fixtures/mistakes.rs"]
mod fixtures;

use memspec::plan::{Document, Problem, read, read_text};

/// One mistake, one error.
#[test]
fn mistakes_never_cascade() {
    let mut wrong = String::new();
    for fixture in fixtures::all() {
        let found = read(fixtures::folder().join(&fixture.file)).problems;
        if found.len() != fixture.mistakes {
            wrong += &format!("{}: {} mistakes, {} errors\n", fixture.file, fixture.mistakes, found.len());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_is_told() {
    for fixture in fixtures::all() {
        let document = read(fixtures::folder().join(&fixture.file));
        let told: String = document.problems.iter().map(|problem| told(&document, problem)).collect();
        let told = told.replace(fixtures::folder().to_str().unwrap(), "/project");
        insta::assert_snapshot!(fixture.name(), told);
    }
}

fn told(document: &Document, problem: &Problem) -> String {
    let text = &document.source.text;
    let (line, column) = document.source.position(problem.span.start);
    let mut told = format!("{} at {line}:{column} {:?}\n", problem.code, &text[problem.span.clone()]);
    told += &format!("  {}\n", problem.message);
    if let Some(help) = &problem.help {
        told += &format!("  help: {help}\n");
    }
    for (span, label) in &problem.related {
        told += &format!("  {label}: {:?} on line {}\n", &text[span.clone()], document.source.position(span.start).0);
    }
    if let Some(fix) = &problem.fix {
        let repaired = fix.apply(text);
        let line_start = repaired[..fix.range.start].rfind('\n').map_or(0, |at| at + 1);
        let end = fix.range.start + fix.text.len();
        let line_end = repaired[end..].find('\n').map_or(repaired.len(), |at| end + at);
        told += &format!("  repaired: {}\n", repaired[line_start..line_end].trim());
    }
    told
}

#[cfg(feature = "report")]
#[test]
fn a_report_points_into_the_text() {
    use miette::Diagnostic;
    let document = read_text("a.mem", "plan \"a\" {\n  model = \"m\"\n  epochs = 1\n}\n");
    let report = document.report(&document.problems[0]);
    assert_eq!(report.to_string(), "`plan` has no setting `epochs`");
    assert_eq!(report.code().unwrap().to_string(), "unknown-setting");
    let label = report.labels().unwrap().next().unwrap();
    let seen = report.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
    assert_eq!((std::str::from_utf8(seen.data()).unwrap(), seen.name(), seen.line()), ("epochs", Some("a.mem"), 2));
}
