//! What ranks changes by the tokens a second that they gain: every suggestion is made in the text, and has to give what it says.

mod common;

use common::folder;
use memspec::cost::{estimate, time};
use memspec::model::Environment;
use memspec::plan::{Document, read_text};
use memspec::quantity::Bytes;
use memspec::solve::setups;
use memspec_lint::config::{Selection, Settings};
use memspec_lint::fix::apply;
use memspec_lint::{Finding, Linter};

/// A plan that recomputes all, two samples at a time.
fn plan(model: &str, card: &str, train: &str) -> String {
    format!(
        "plan \"p\" {{\n  model = \"{model}\"\n  device = \"{card}\"\n  engine = trl\n  adapter lora {{ rank = 16 }}\n  data {{ context = 2048tok }}\n  train {{ {train} }}\n}}\n"
    )
}

fn findings(text: &str, rule: &str) -> Vec<Finding> {
    let selection = Selection { select: vec![rule.parse().unwrap()], ..Selection::default() };
    let folder = folder();
    let linter = Linter::new(folder.path(), Environment::default()).with(Settings { selection, ..Settings::default() });
    linter.check(&read_text("plan.mem", text))
}

/// Tokens a second, and the bytes of the process.
fn figures(document: &Document) -> (f64, u64) {
    assert_eq!(document.problems, []);
    let runs = setups(&document.plans[0].plan, "".as_ref(), &Environment::default()).unwrap();
    let estimate = estimate(&runs[0].setup).unwrap();
    assert!(estimate.fits);
    (time(&runs[0].setup).unwrap().tokens_per_second.value, estimate.peak.process.bytes)
}

fn check(text: &str, rule: &str) {
    let findings = findings(text, rule);
    assert_eq!(findings.len(), 1, "{rule}: {findings:#?}");
    let (tokens, bytes) = figures(&read_text("plan.mem", text));
    let fixes = &findings[0].fixes;
    assert!(!fixes.is_empty());
    let mut gains = Vec::new();
    for fix in fixes {
        let changed = apply(text, &fix.edits).unwrap();
        assert_ne!(changed, text, "{}", fix.title);
        let (now, takes) = figures(&read_text("plan.mem", changed));
        let gained = now - tokens;
        let memory = match takes.checked_sub(bytes) {
            Some(0) => "in the same memory".to_owned(),
            Some(more) => format!("takes {} more", Bytes(more)),
            _ => format!("saves {}", Bytes(bytes - takes)),
        };
        let expected = format!(": +{gained:.0} tokens/s ({:.0} % more), {memory}", 100.0 * gained / tokens);
        assert!(fix.title.ends_with(&expected), "{} is {expected}", fix.title);
        gains.push(gained);
    }
    assert!(gains.is_sorted_by(|a, b| a >= b), "{gains:?}");
}

#[test]
fn memory_left_unused_raises_what_would_be_faster_with_it() {
    check(
        &plan("Qwen/Qwen2.5-0.5B", "a100-40", "micro_batch = 2; accumulate = 8; checkpointing = block"),
        "unused-memory",
    );
}

#[test]
fn a_slow_setting_raises_what_would_be_faster_within_the_same_memory() {
    let text = plan(
        "meta-llama/Llama-3.2-3B",
        "rtx4090",
        "micro_batch = 2; accumulate = 4; checkpointing = block; attention = eager; loss = whole",
    );
    check(&text, "slow-setting");
    let found = findings(&text, "slow-setting");
    assert!(found[0].fixes[0].title.starts_with("attention eager -> "), "{}", found[0].fixes[0].title);
}
