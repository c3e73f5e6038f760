//! Every rule's page: its examples are linted, and its fixes applied.

mod common;

use std::path::Path;

use common::{check, folder, linter, with};
use memspec::plan::read_text;
use memspec_lint::config::{Selection, Selector};
use memspec_lint::fix::{Applicability, fix};
use memspec_lint::registry::{self, RULES, Rule};
use memspec_lint::{Finding, Linter, Settings};

fn names(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.rule).collect()
}

/// A linter with every rule that is on by itself, and this one.
fn with_rule(base: &Path, rule: &'static Rule) -> Linter {
    let selection = Selection { select: vec![Selector::Default, Selector::Rule(rule)], ignore: Vec::new() };
    linter(base).with(Settings { selection, ..Settings::default() })
}

fn check_with(base: &Path, rule: &'static Rule, text: &str) -> Vec<Finding> {
    with_rule(base, rule).check(&read_text("plan.mem", text))
}

/// The rules with an example, and the plan of the bad one.
fn examples() -> impl Iterator<Item = (&'static Rule, String)> {
    RULES.iter().filter_map(|rule| Some((rule, with(&rule.example("Example")?))))
}

#[test]
fn the_clean_plan_is_clean() {
    let folder = folder();
    let (_, findings) = check(folder.path(), &with(""));
    assert_eq!(names(&findings), [""; 0], "{findings:#?}");
}

/// Plans as people train them raise nothing by themselves.
#[test]
fn good_plans_are_clean() {
    let folder = folder();
    let (document, findings) = check(folder.path(), include_str!("fixtures/good.mem"));
    assert!(document.plans.len() >= 8);
    assert_eq!(names(&findings), [""; 0], "{findings:#?}");
}

/// All that is wrong is told at once.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn each_example_raises_its_rule_and_nothing_else() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (rule, text) in examples() {
        let findings = check_with(folder.path(), rule, &text);
        let is_right = |finding: &Finding| {
            finding.rule == rule.name
                && finding.code == Some(rule.code)
                && finding.severity == rule.severity
                && !finding.labels.is_empty()
        };
        if findings.is_empty() || !findings.iter().all(is_right) {
            wrong.push(format!("{}: {:?}\n{text}\n{findings:#?}", rule.name, names(&findings)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn what_each_page_says_to_use_instead_is_clean() {
    let folder = folder();
    let mut wrong = Vec::new();
    for rule in RULES {
        let Some(good) = rule.example("Use instead").map(|good| with(&good)) else { continue };
        let findings = check_with(folder.path(), rule, &good);
        if !findings.is_empty() {
            wrong.push(format!("{}: {:?}\n{good}\n{findings:#?}", rule.name, names(&findings)));
        }
    }
    assert_none(&wrong);
}

#[test]
fn a_fix_ends_its_finding() {
    let folder = folder();
    let mut wrong = Vec::new();
    for (rule, text) in examples() {
        let document = read_text("plan.mem", text.clone());
        let linter = with_rule(folder.path(), rule);
        let before = linter.check(&document);
        let has_fix = before.iter().any(|finding| memspec_lint::fix::chosen(finding, Applicability::Unsafe).is_some());
        let promised = rule.fix_safety();
        if has_fix != promised.is_some() {
            wrong.push(format!("{}: the page and the rule disagree about a fix", rule.name));
        }
        if !has_fix {
            continue;
        }
        let allowed = if promised.is_some_and(|text| text.starts_with("Safe")) {
            Applicability::Safe
        } else {
            Applicability::Unsafe
        };
        let after = fix(&linter, document, allowed);
        if !after.findings.is_empty() {
            wrong.push(format!("{}:\n{}\n{:#?}", rule.name, after.document.source.text, after.findings));
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_page_is_whole() {
    for rule in RULES {
        let page = rule.page();
        assert!(page.starts_with(&format!("# {} ({})\n", rule.name, rule.code)), "{}: {page}", rule.name);
        assert!(page.contains("## What it does") && page.contains("## Why is this bad?"), "{}", rule.name);
        assert!(
            rule.example("Example").is_some()
                || [
                    "not-utf8",
                    "missing-name",
                    "not-understood",
                    "seq-shorter-than-data",
                    "adapter-settings-without-adapter"
                ]
                .contains(&rule.name),
            "{} has no example",
            rule.name
        );
        let summary = rule.summary();
        assert!(summary.ends_with('.') && summary.len() < 260, "{}: {summary}", rule.name);
        if let Some(safety) = rule.fix_safety() {
            assert!(safety.starts_with("Safe") || safety.starts_with("Unsafe"), "{}", rule.name);
        }
    }
}

#[test]
fn codes_and_names_are_given_once() {
    for (n, rule) in RULES.iter().enumerate() {
        assert!(RULES[..n].iter().all(|other| other.code != rule.code && other.name != rule.name), "{}", rule.name);
        assert_eq!(registry::find(&rule.code.to_lowercase()).unwrap().name, rule.name);
    }
}

/// A mistake of the text that no rule has a page for would be reported without one.
#[test]
fn every_kind_of_mistake_has_a_page() {
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../memspec/src");
    let mut codes = Vec::new();
    for folder in ["plan", "lang", "lang/parser", "exchange", "exchange/yaml"] {
        for entry in std::fs::read_dir(source.join(folder)).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let calls = text.split("Problem::new(").skip(1);
            codes.extend(calls.filter_map(|call| {
                let code = call.trim_start().strip_prefix('"')?.split('"').next()?;
                Some(code.to_owned())
            }));
        }
    }
    assert!(codes.len() > 20, "{codes:?}");
    for code in codes {
        let cannot_run = ["unreadable-file", "unknown-file"].contains(&code.as_str());
        assert!(cannot_run || registry::find(&code).is_some(), "`{code}` has no page");
    }
}
