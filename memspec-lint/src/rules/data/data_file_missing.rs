//! # data-file-missing (TOK006)
//!
//! ## What it does
//! Finds a data `path` or `eval_path` with no file behind it. Paths are relative to the plan's file. A hub name
//! (`owner/dataset`) is accepted: a plan can be costed with it. So is a name without an extension in another trainer's file: that
//! trainer knows where it is.
//!
//! ## Why is this bad?
//! The run stops when it opens the data, after the weights are loaded; a missing `eval_path` only at the first
//! evaluation.
//!
//! ## Example
//! ```mem
//! data {
//!   path = "data/trian.jsonl"
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
//!
//! ## Fix safety
//! Unsafe: the nearest name in the folder is a guess.

use std::path::Path;

use memspec::plan::Written;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::{Applicability, Fix};
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Other trainers look names up themselves, and paths where they are launched.
    for plan in context.plans.iter().filter(|_| context.document.foreign.is_none()) {
        for (setting, path) in files(plan.written) {
            let full = context.base.join(&path);
            let (message, help) = if full.is_file() || is_hub_name(&full, &path) {
                continue;
            } else if full.is_dir() {
                (format!("`{}` is a folder", path.display()), Some("name the file in it".to_owned()))
            } else {
                let from = context.base.display().to_string();
                let from = if from.is_empty() { "this folder".to_owned() } else { format!("`{from}`") };
                (
                    format!("there is no file `{}`", path.display()),
                    Some(format!("paths are relative to the plan's file, in {from}")),
                )
            };
            let fix = nearest(&full, &path).and_then(|nearest| {
                let mut fix = Fix::set(context.document, plan.index, setting, &nearest, Applicability::Unsafe)?;
                fix.title = format!("use `{nearest}`");
                Some(fix)
            });
            let mut finding = Finding::new(rule, message).at(plan.written, setting, "").fix(fix);
            finding.help = help;
            findings.push(finding);
        }
    }
    findings
}

/// The data files that a plan names, by setting.
pub(super) fn files(written: &Written) -> Vec<(&'static str, std::path::PathBuf)> {
    let Some(data) = &written.plan.data else { return Vec::new() };
    let all = [("data.path", &data.path), ("data.eval_path", &data.eval_path)];
    let named = all.into_iter().filter_map(|(setting, path)| Some((setting, path.as_ref()?)));
    named.flat_map(|(setting, path)| path.values().iter().map(move |path| (setting, path.clone()))).collect()
}

/// `owner/dataset`: two parts, no extension, and no folder `owner` here.
fn is_hub_name(full: &Path, path: &Path) -> bool {
    path.is_relative()
        && path.components().count() == 2
        && path.components().all(|part| matches!(part, std::path::Component::Normal(_)))
        && path.extension().is_none()
        && !full.parent().is_some_and(Path::is_dir)
}

/// The file of the same folder whose name is closest.
fn nearest(full: &Path, path: &Path) -> Option<String> {
    let wanted = full.file_name()?.to_str()?;
    let names: Vec<String> = std::fs::read_dir(full.parent()?)
        .ok()?
        .take(1000)
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let near = |name: &&String| strsim::damerau_levenshtein(name, wanted) <= 2;
    let name = names.iter().filter(near).min_by_key(|name| strsim::damerau_levenshtein(name, wanted))?;
    path.with_file_name(name).to_str().map(str::to_owned)
}
