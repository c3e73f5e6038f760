//! The settings of a plan that have several values, and the plan with one of them taken.

use serde_json::Value;

use crate::plan::Plan;

/// A setting with several values.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    /// Its dotted path.
    pub(super) setting: String,
    /// Its values, the preferred one first, as JSON writes them, text without its quotes.
    pub(super) values: Vec<String>,
}

/// The settings whose values stand under `word` (`fit` or `sweep`), in the order of the documentation.
pub(super) fn open(plan: &Plan, word: &str) -> Vec<Open> {
    let mut found = Vec::new();
    find(&serde_json::to_value(plan).unwrap_or_default(), word, "", &mut found);
    found
}

/// How many combinations of values there are; too many to count: the largest number.
pub(super) fn combinations(open: &[Open]) -> usize {
    open.iter().fold(1, |all, one| all.saturating_mul(one.values.len()))
}

/// The combination of that number, the first setting's values changing last: an index into the values of each setting.
pub(super) fn combination(open: &[Open], mut number: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = open
        .iter()
        .rev()
        .map(|one| {
            let index = number % one.values.len();
            number /= one.values.len();
            index
        })
        .collect();
    indices.reverse();
    indices
}

/// Settings with the values that were taken for them.
pub(super) fn taken(open: &[Open], indices: &[usize]) -> Vec<(String, String)> {
    open.iter().zip(indices).map(|(one, &index)| (one.setting.clone(), one.values[index].clone())).collect()
}

/// Every `{word: [..]}` of a plan.
fn find(value: &Value, word: &str, path: &str, into: &mut Vec<Open>) {
    let Value::Object(map) = value else { return };
    if let (1, Some(Value::Array(values))) = (map.len(), map.get(word)) {
        into.push(Open { setting: path.to_owned(), values: values.iter().map(text).collect() });
        return;
    }
    for (key, value) in map {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        find(value, word, &path, into);
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
