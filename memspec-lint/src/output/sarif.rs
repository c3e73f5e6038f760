//! Findings as SARIF 2.1.0, which code hosts read: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use std::ops::Range;

use memspec::plan::Source;
use serde_json::{Value, json};

use crate::diagnostic::{Finding, Severity};
use crate::fix::{Applicability, Fix};
use crate::registry::{RULES, Rule};

/// The log of one run, with the findings of every file. A rule's help is its page.
pub fn log<'a>(files: impl Iterator<Item = (&'a Source, &'a [Finding])>) -> Value {
    let results: Vec<Value> =
        files.flat_map(|(source, findings)| findings.iter().map(|finding| result(source, finding))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": env!("CARGO_PKG_NAME"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "rules": RULES.iter().map(rule).collect::<Vec<_>>(),
            } },
            // as columns are counted here
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn rule(rule: &Rule) -> Value {
    let page = rule.page();
    json!({
        "id": rule.code,
        "name": rule.name,
        "shortDescription": { "text": rule.summary() },
        "help": { "text": page, "markdown": page },
        "defaultConfiguration": { "level": level(rule.severity) },
        "properties": { "tags": [rule.family()] },
    })
}

fn result(source: &Source, finding: &Finding) -> Value {
    let mut text = finding.message.clone();
    for more in finding.help.iter().chain(&finding.notes) {
        text += "\n";
        text += more;
    }
    let mut result = json!({
        "ruleId": finding.code.unwrap_or(finding.rule),
        "level": level(finding.severity),
        "message": { "text": text },
        "locations": [place(source, finding.labels.first().map_or(0..0, |label| label.span.clone()))],
    });
    if let Some(index) = RULES.iter().position(|rule| Some(rule.code) == finding.code) {
        result["ruleIndex"] = index.into();
    }
    let related: Vec<Value> = finding
        .labels
        .iter()
        .skip(1)
        .enumerate()
        .map(|(n, label)| {
            let mut place = place(source, label.span.clone());
            place["id"] = n.into();
            place["message"] = json!({ "text": label.text });
            place
        })
        .collect();
    if !related.is_empty() {
        result["relatedLocations"] = related.into();
    }
    let applicable = |fix: &&Fix| fix.applicability != Applicability::DisplayOnly && !fix.edits.is_empty();
    let fixes: Vec<Value> = finding.fixes.iter().filter(applicable).map(|one| fix(source, one)).collect();
    if !fixes.is_empty() {
        result["fixes"] = fixes.into();
    }
    result
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn place(source: &Source, span: Range<usize>) -> Value {
    json!({ "physicalLocation": { "artifactLocation": artifact(source), "region": region(source, span) } })
}

fn artifact(source: &Source) -> Value {
    json!({ "uri": uri(&source.name) })
}

fn region(source: &Source, span: Range<usize>) -> Value {
    let ((line, column), (end_line, end_column)) = (source.position(span.start), source.position(span.end));
    json!({ "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column })
}

fn fix(source: &Source, fix: &Fix) -> Value {
    let replacements: Vec<Value> = fix
        .edits
        .iter()
        .map(|edit| json!({ "deletedRegion": region(source, edit.range.clone()), "insertedContent": { "text": edit.text } }))
        .collect();
    json!({
        "description": { "text": fix.title },
        "artifactChanges": [{ "artifactLocation": artifact(source), "replacements": replacements }],
    })
}

/// A path as a relative URI: what such a one may not have is written `%20`.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'\\' => uri.push('/'),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_are_uris() {
        assert_eq!(super::uri("plans/a b#1.mem"), "plans/a%20b%231.mem");
        assert_eq!(super::uri("plans\\é.mem"), "plans/%C3%A9.mem");
    }
}
