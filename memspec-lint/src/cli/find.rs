//! Which files are plans.

use std::fs;
use std::path::{Path, PathBuf};

use memspec::plan::Document;

use super::{Failure, recognize};
use crate::Linter;
use crate::context::Context;
use crate::diagnostic::{self, Finding, Severity};
use crate::output::{Style, report};
use crate::rules::spec::unsupported_setting;

/// Folders that hold no plans of their own.
const SKIPPED: &[&str] = &["target", "runs", "node_modules"];
/// Folders below each other at most, so that a loop of links ends.
const DEEPEST: usize = 32;

/// Which files of the paths are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Of folders those that are plans, by name (`.mem`) or by content (YAML, JSON); files that are named, as they are.
    Plans,
    /// The same of files that are named: a YAML or JSON file that is no plan is passed over, and there may be none at all.
    OnlyPlans,
    /// Those in the language.
    Mem,
}

/// The plan files of the paths, in order of name.
pub(super) fn plans(paths: &[PathBuf], wanted: Wanted) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|error| {
            Failure::new(format_args!("cannot read `{}`: {error}", path.display()), "check the path")
        })?;
        if metadata.is_dir() {
            walk(path, &mut found, wanted, 0)?;
        } else if is_mem(path)
            || wanted != Wanted::OnlyPlans && recognize::may_be(path)
            || recognize::is_plan_file(path)
        {
            found.push(path.clone());
        } else if wanted != Wanted::OnlyPlans {
            return Err(Failure::new(
                format_args!("`{}` is not a plan file", path.display()),
                "plans are .mem, .yaml, .yml or .json files",
            ));
        }
    }
    found.sort();
    found.dedup();
    if found.is_empty() && wanted != Wanted::OnlyPlans {
        let names: Vec<_> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(Failure::new(
            format_args!("no plans in {}", names.join(", ")),
            match wanted {
                Wanted::Mem => "folders are searched for .mem files",
                _ => {
                    "folders are searched for .mem files, and for YAML and JSON files of plans, axolotl, LLaMA-Factory and TRL"
                }
            },
        ));
    }
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>, wanted: Wanted, depth: usize) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| {
        Failure::new(format_args!("cannot read `{}`: {error}", folder.display()), "check its permissions")
    };
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if path.is_dir() {
            if !name.starts_with('.') && !SKIPPED.contains(&name) && depth < DEEPEST {
                walk(&path, found, wanted, depth + 1)?;
            }
        } else if is_mem(&path) || wanted != Wanted::Mem && recognize::is_plan_file(&path) {
            // `.` is no part of a name that people write.
            found.push(path.strip_prefix("./").map(Path::to_path_buf).unwrap_or(path));
        }
    }
    Ok(())
}

/// A plan, by the ending of its name.
pub(super) fn is_plan(path: &Path) -> bool {
    is_mem(path) || recognize::may_be(path)
}

fn is_mem(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("mem"))
}

/// Reads a plan file.
pub(super) fn read(linter: &Linter, path: &Path) -> Result<Document, Failure> {
    readable(linter.read(path))
}

/// The document, unless nothing could be read at all.
pub(super) fn readable(document: Document) -> Result<Document, Failure> {
    match document.problems.iter().find(|problem| matches!(problem.code, "unreadable-file" | "unknown-file")) {
        Some(problem) => Err(Failure::new(&problem.message, problem.help.as_deref().unwrap_or("check the path"))),
        None => Ok(document),
    }
}

/// Fails with what is wrong with a document's plans, where they cannot be costed.
pub(super) fn sound(context: &Context<'_>) -> Result<(), Failure> {
    let document = context.document;
    let mut mistakes = diagnostic::from_problems(document);
    for plan in &context.plans {
        if mistakes.is_empty() {
            mistakes.extend(diagnostic::from_unresolved(plan.written, &plan.unresolved));
            mistakes.extend(unsupported_setting::uncosted(plan));
        }
    }
    if mistakes.is_empty() && context.plans.is_empty() {
        mistakes
            .push(Finding::error("no-plan", "there is no plan in this file").help("write one: `plan \"name\" { .. }`"));
    }
    if mistakes.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(Failure(report::render_all(&document.source, &mistakes, Style::of_stderr())));
    }
    Ok(())
}
