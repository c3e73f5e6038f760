//! How often each rule found something.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Style;
use crate::diagnostic::Finding;
use crate::fix::{Applicability, chosen};

/// How often a rule found something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Count {
    /// The rule's code; none for what is no rule's.
    pub code: Option<&'static str>,
    /// The rule's name.
    pub rule: &'static str,
    /// Its findings.
    pub count: usize,
    /// Those that `--fix` would repair.
    pub fixable: usize,
}

/// The rules that found something, the one that did most often first.
pub fn count(findings: &[&Finding]) -> Vec<Count> {
    let mut counts: BTreeMap<_, Count> = BTreeMap::new();
    for finding in findings {
        let (code, rule) = (finding.code, finding.rule);
        let one = counts.entry((code, rule)).or_insert(Count { code, rule, count: 0, fixable: 0 });
        one.count += 1;
        one.fixable += usize::from(chosen(finding, Applicability::Safe).is_some());
    }
    let mut counts: Vec<Count> = counts.into_values().collect();
    counts.sort_by_key(|one| std::cmp::Reverse(one.count));
    counts
}

/// A line for each rule.
pub fn table(counts: &[Count], style: Style) -> String {
    let wide = |length: fn(&Count) -> usize| counts.iter().map(length).max().unwrap_or(0);
    let (number, code) = (wide(|one| one.count.to_string().len()), wide(|one| one.code.unwrap_or_default().len()));
    let line = |one: &Count| {
        let fixable = if one.fixable > 0 { format!("  {} fixable", one.fixable) } else { String::new() };
        let code = format!("{:<code$}", one.code.unwrap_or_default());
        format!("{:>number$}  {}  {}{}\n", one.count, style.bold(&code), one.rule, style.faint(&fixable))
    };
    counts.iter().map(line).collect()
}
