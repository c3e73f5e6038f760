//! # secret-in-plan (SPEC015)
//!
//! ## What it does
//! Finds access tokens in the text: of Hugging Face, OpenAI, GitHub, AWS and Weights & Biases.
//!
//! ## Why is this bad?
//! Plans are shared and committed, and whoever reads one can use the token.
//!
//! ## Example
//! ```mem
//! # token: hf_0000000000000000000000000000000000
//! device = t4
//! ```
//!
//! ## Use instead
//! ```mem
//! # the token is in HF_TOKEN
//! device = t4
//! ```
//!
//! ## References
//! - <https://huggingface.co/docs/hub/security-tokens>

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// What tokens begin with, whose they are, and how many letters and digits follow at least.
const TOKENS: &[(&str, &str, usize)] = &[
    ("hf_", "Hugging Face", 30),
    ("sk-", "OpenAI", 32),
    ("ghp_", "GitHub", 36),
    ("github_pat_", "GitHub", 40),
    ("AKIA", "AWS", 16),
    ("wandb_v1_", "Weights & Biases", 30),
];

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let text = context.document.source.text.as_str();
    let found = TOKENS.iter().flat_map(|(prefix, whose, least)| {
        text.match_indices(prefix).filter_map(move |(at, _)| {
            let before = text[..at].chars().next_back();
            let begins = before.is_none_or(|c| !c.is_alphanumeric() && c != '_');
            let rest = &text[at + prefix.len()..];
            let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').unwrap_or(rest.len());
            (begins && length >= *least).then(|| (at..at + prefix.len() + length, *whose))
        })
    });
    found
        .map(|(span, whose)| {
            Finding::new(rule, format!("an access token of {whose} stands in the text"))
                .label(span, "readable by everyone who has the file")
                .help("take it out and revoke it; trainers read tokens from the environment")
        })
        .collect()
}
