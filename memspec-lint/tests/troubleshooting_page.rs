//! Every table of `docs/troubleshooting.md`: its edits are made in the text of the plan above it, and the plan is estimated anew.

use std::fs;
use std::path::Path;

use memspec::cost::{Estimate, estimate, time};
use memspec::lang::format;
use memspec::model::Environment;
use memspec::plan::{Document, read_text};
use memspec::quantity::Bytes;
use memspec::setup::Setup;
use memspec::solve::setups;
use memspec_lint::fix::{apply, edit_settings};

/// What a plan comes to.
struct Figures {
    estimate: Estimate,
    tokens: f64,
}

fn setup(document: &Document) -> Setup {
    assert_eq!(document.problems, [], "{}", document.source.text);
    setups(&document.plans[0].plan, Path::new(""), &Environment::default())
        .unwrap_or_else(|errors| panic!("{}: {errors:#?}", document.source.text))
        .remove(0)
        .setup
}

fn figures(document: &Document) -> Figures {
    let setup = setup(document);
    let estimate = estimate(&setup).unwrap_or_else(|error| panic!("{}: {error}", document.source.text));
    let tokens = time(&setup).unwrap_or_else(|error| panic!("{}: {error}", document.source.text));
    Figures { estimate, tokens: tokens.tokens_per_second.value }
}

/// The plan's text with a row's edits made, one after the other.
fn edited(plan: &str, edit: &str) -> Document {
    let settings: Vec<(&str, String)> = edit
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|setting| setting.split_once(" = ").map(|(path, value)| (path, value.to_owned())).expect(setting))
        .collect();
    assert!(!settings.is_empty(), "{edit}");
    let document = read_text("plan.mem", plan);
    let edits = edit_settings(&document, 0, &settings).unwrap_or_else(|| panic!("{edit} is no edit of\n{plan}"));
    read_text("plan.mem", apply(plan, &edits).expect(edit))
}

/// A row, beside what the plan takes as it is.
fn row(edit: &str, now: &Figures, before: &Figures) -> String {
    let (peak, was) = (now.estimate.peak.process.bytes, before.estimate.peak.process.bytes);
    let change = match (peak.checked_sub(was), was.checked_sub(peak)) {
        (Some(0), _) => String::new(),
        (Some(more), _) => format!(" (+{})", Bytes(more)),
        (_, less) => format!(" (−{})", Bytes(less.unwrap_or(0))),
    };
    let fits = if now.estimate.fits { "yes" } else { "no" };
    let share = (100.0 * (now.tokens / before.tokens - 1.0)).round();
    let faster = if share == 0.0 { String::new() } else { format!(" ({share:+.0} %)").replace('-', "−") };
    format!("| {edit} | {}{change} | {fits} | {:.0}{faster} |", Bytes(peak), now.tokens)
}

/// With `MEMSPEC_UPDATE` set, the figures are put into the page.
#[test]
fn generated_files_are_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let page = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<String> = Vec::new();
    let (mut plan, mut before) = (String::new(), None);
    let (mut in_plan, mut rows) = (false, 0);
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        match line {
            "```mem" => (in_plan, plan) = (true, String::new()),
            "```" => {
                in_plan = false;
                assert_eq!(format(&plan), plan, "not in the style");
                before = Some(figures(&read_text("plan.mem", plan.as_str())));
            }
            _ if in_plan => plan += &format!("{line}\n"),
            _ if cells.len() == 6 && !["edit", "---"].contains(&cells[1]) => {
                let before = before.as_ref().expect("a table stands below its plan");
                let now = match cells[1] {
                    "as it is" => figures(&read_text("plan.mem", plan.as_str())),
                    edit => figures(&edited(&plan, edit)),
                };
                lines.push(row(cells[1], &now, before));
                rows += 1;
                continue;
            }
            _ => {}
        }
        lines.push(line.to_owned());
    }
    assert!(rows > 40, "{rows} rows");
    let now = lines.join("\n") + "\n";
    if std::env::var_os("MEMSPEC_UPDATE").is_some() {
        fs::write(&path, now).unwrap();
    } else {
        assert!(now == page, "a figure is another; with MEMSPEC_UPDATE=1 the page is written anew:\n{now}");
    }
}

/// What the words beside the tables claim.
#[test]
fn what_the_page_says_in_words_is_so() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md")).unwrap();
    let symptom = |name: &str| {
        let (_, after) =
            page.split_once(&format!("\n### {name}\n")).or_else(|| page.split_once(&format!("\n## {name}\n"))).unwrap();
        let table = after.split("\n| edit").nth(1).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| row.split('|').nth(3).unwrap().trim() == "yes").collect::<Vec<bool>>()
    };
    // Each plan that dies does not fit, and at least one edit makes it.
    for name in [
        "while the model loads",
        "at the first step",
        "after the first step",
        "at evaluation",
        "at saving",
        "with memory \"reserved but unallocated\"",
        "One card is not enough",
    ] {
        let fits = symptom(name);
        assert!(!fits[0] && fits[1..].contains(&true), "{name}: {fits:?}");
    }
    for name in ["The loss is NaN, or jumps", "Training is slow", "Half of the card is unused"] {
        assert!(symptom(name)[0], "{name}");
    }
}
