//! `memspec-lint rules`.

use clap::Args;
use serde_json::json;

use super::{Failure, Outcome, print, print_json};
use crate::registry::RULES;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// As JSON, for programs
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    if arguments.json {
        let rules: Vec<_> = RULES
            .iter()
            .map(|rule| json!({"code": rule.code, "name": rule.name, "severity": rule.severity, "confidence": rule.confidence, "summary": rule.summary()}))
            .collect();
        print_json(&json!({ "rules": rules }))?;
        return Ok(Outcome::Clean);
    }
    let wide = RULES.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
    let lines = RULES.iter().map(|rule| {
        let (severity, confidence) = (rule.severity.name(), rule.confidence.name());
        format!("{:<8} {:<wide$} {severity:<8} {confidence:<10} {}\n", rule.code, rule.name, rule.summary())
    });
    print(&lines.collect::<String>())?;
    Ok(Outcome::Clean)
}
