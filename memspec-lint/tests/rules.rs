//! Every rule's page: its examples are linted, and its fixes applied.

mod common;

use common::{check, folder, linter, with};
use memspec::plan::read_text;
use memspec_lint::fix::{Applicability, fix};
use memspec_lint::registry::{self, RULES, Rule};

fn names(findings: &[memspec_lint::Finding]) -> Vec<&'static str> {
    findings.iter().map(|finding| finding.rule).collect()
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

#[test]
fn each_example_raises_its_rule_and_nothing_else() {
    let folder = folder();
    for (rule, text) in examples() {
        let (_, findings) = check(folder.path(), &text);
        assert!(
            !findings.is_empty() && findings.iter().all(|finding| finding.rule == rule.name),
            "{}: {:?}\n{text}\n{findings:#?}",
            rule.name,
            names(&findings)
        );
        assert!(findings.iter().all(|finding| finding.severity == rule.severity && finding.code == Some(rule.code)));
        assert!(findings.iter().all(|finding| !finding.labels.is_empty()), "{} has no place", rule.name);
    }
}

#[test]
fn what_each_page_says_to_use_instead_is_clean() {
    let folder = folder();
    for rule in RULES {
        let Some(good) = rule.example("Use instead") else { continue };
        let (_, findings) = check(folder.path(), &with(&good));
        if rule.name == "unused-allow" {
            // The comment is used.
            assert_eq!(names(&findings), [""; 0], "{findings:#?}");
        }
        assert!(findings.is_empty(), "{}: {:?}\n{}\n{findings:#?}", rule.name, names(&findings), with(&good));
    }
}

#[test]
fn a_fix_ends_its_finding() {
    let folder = folder();
    let mut fixed = Vec::new();
    for (rule, text) in examples() {
        let document = read_text("plan.mem", text.clone());
        let before = linter(folder.path()).check(&document);
        let has_fix = before.iter().any(|finding| memspec_lint::fix::chosen(finding, Applicability::Unsafe).is_some());
        let promised = rule.fix_safety();
        assert_eq!(has_fix, promised.is_some(), "{}: the page and the rule disagree about a fix", rule.name);
        if !has_fix {
            continue;
        }
        let allowed = if promised.is_some_and(|text| text.starts_with("Safe")) {
            Applicability::Safe
        } else {
            Applicability::Unsafe
        };
        let after = fix(&linter(folder.path()), document, allowed);
        assert!(after.findings.is_empty(), "{}:\n{}\n{:#?}", rule.name, after.document.source.text, after.findings);
        fixed.push(rule.name);
    }
    assert!(fixed.len() >= 15, "{fixed:?}");
}

#[test]
fn every_page_is_whole() {
    for rule in RULES {
        let page = rule.page();
        assert!(page.starts_with(&format!("# {} ({})\n", rule.name, rule.code)), "{}: {page}", rule.name);
        assert!(page.contains("## What it does") && page.contains("## Why is this bad?"), "{}", rule.name);
        assert!(
            rule.example("Example").is_some()
                || ["not-utf8", "missing-name", "seq-shorter-than-data"].contains(&rule.name),
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
