//! # data-file-empty (TOK008)
//!
//! ## What it does
//! Finds data files with nothing in them but white space.
//!
//! ## Why is this bad?
//! There is nothing to learn from, and the run stops. Most often a script that writes the data failed half way.
//!
//! ## Example
//! ```mem
//! data {
//!   path = "data/empty.jsonl"
//!   context = 512tok
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! data {
//!   path = "data/train.jsonl"
//!   context = 512tok
//! }
//! ```

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::data_file_missing::files;
use crate::context::Context;
use crate::diagnostic::Finding;
use crate::registry::Rule;

/// Bytes that are looked at: a file that begins with this much white space has a problem of its own.
const LOOKED_AT: u64 = 64 * 1024;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plan in &context.plans {
        for (setting, path) in files(plan.written) {
            if is_empty(&context.base.join(&path)) {
                findings.push(
                    Finding::new(rule, format!("the file `{}` is empty", path.display()))
                        .at(plan.written, setting, "no samples")
                        .help("write one JSON record to a line: `{\"text\": \"..\"}`"),
                );
            }
        }
    }
    findings
}

fn is_empty(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return false;
    }
    let mut start = Vec::new();
    file.take(LOOKED_AT).read_to_end(&mut start).is_ok_and(|_| start.iter().all(u8::is_ascii_whitespace))
}
