//! What `check` says of other trainers' example files, beside the list of what is right to say of them:
//! `cargo run -p memspec-lint --example alarms -- FOLDER tests/corpus/findings-axolotl.txt`. Keys that are not understood have lists of their own
//! (`imports.rs`).
//!
//! The list has what a reader can check: under each `CODE name: why it is right`, the files with what is said of them. A finding that is not
//! on it, one on it that nobody finds, and a heading without its reason fail. With `MEMSPEC_UPDATE=1` the list is written anew: reasons stay
//! with their files, and new findings are under a heading whose reason is still to be written. No device is named, and no model is looked up but
//! in the catalog, so that the list is the same on every machine.

mod corpus;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use memspec::exchange::foreign::detect_training;
use memspec::model::Environment;
use memspec_lint::context::Repairs;
use memspec_lint::{Context, Finding, Linter, Severity};
use rayon::prelude::*;

#[derive(Parser)]
struct Arguments {
    /// The folder of the trainer's package
    folder: PathBuf,
    /// The list
    list: PathBuf,
}

/// A heading: a rule, and why what it finds is right.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    /// Its code and name.
    rule: String,
    /// In one line; empty where nobody has written it.
    why: String,
}

/// What is said of a file: the rule, and the line of the list. Rules sort before files, so that a list has them together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    rule: String,
    file: String,
    message: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (found, summary) = match said_of(&arguments.folder) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{}: {error}", arguments.folder.display());
            return ExitCode::from(2);
        }
    };
    let mut list = std::fs::read_to_string(&arguments.list).unwrap_or_default();
    if std::env::var_os("MEMSPEC_UPDATE").is_some() {
        list = write(&summary, &found, &read(&list));
        if let Err(error) = std::fs::write(&arguments.list, &list) {
            eprintln!("{}: {error}", arguments.list.display());
            return ExitCode::from(2);
        }
    }
    let wrong = compare(&arguments.list, &list, &summary, &found);
    print!("{wrong}");
    eprintln!("{summary}");
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is said of the files, at least as a warning, and in a sentence how many of them were looked at.
fn said_of(folder: &Path) -> std::io::Result<(BTreeSet<Said>, String)> {
    let files = corpus::examples(folder)?;
    let looked: Vec<Looked> = files.par_iter().map(|path| look(folder, path)).collect();
    let count = |is: &dyn Fn(&Looked) -> bool| looked.iter().filter(|looked| is(looked)).count();
    let summary = format!(
        "{} files: {} are estimated to the end; of {} the model is not in the catalog, {} say what is not costed, of {} the engine does not know \
         a setting or the model, {} do not train",
        looked.len(),
        count(&|looked| looked.depth == Depth::Estimated),
        count(&|looked| looked.depth == Depth::UnknownModel),
        count(&|looked| looked.depth == Depth::NotUnderstood),
        count(&|looked| looked.depth == Depth::NotEstimated),
        count(&|looked| looked.depth == Depth::NoTraining),
    );
    Ok((looked.into_iter().flat_map(|looked| looked.said).collect(), summary))
}

/// A file as it was looked at.
struct Looked {
    said: Vec<Said>,
    depth: Depth,
}

/// How far a file could be looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    NoTraining,
    UnknownModel,
    NotUnderstood,
    NotEstimated,
    Estimated,
}

fn look(folder: &Path, path: &Path) -> Looked {
    let file = path.strip_prefix(folder).unwrap_or(path).display().to_string();
    if detect_training(&std::fs::read_to_string(path).unwrap_or_default()).is_none() {
        return Looked { said: Vec::new(), depth: Depth::NoTraining };
    }
    let linter = Linter::beside(path, Environment::default());
    let document = linter.read(path);
    let context = Context { repairs: Repairs::None, ..linter.context(&document) };
    let findings = linter.findings(&context);
    let has = |code: &str| findings.iter().any(|finding| finding.code == Some(code));
    let depth = match () {
        () if has("MOD001") => Depth::UnknownModel,
        () if has("SPEC044") => Depth::NotUnderstood,
        () if context.is_complete() => Depth::Estimated,
        () => Depth::NotEstimated,
    };
    let here = path.parent().unwrap_or(path).display().to_string();
    let said = |finding: &Finding| Said {
        rule: format!("{} {}", finding.code.unwrap_or("-"), finding.rule),
        file: file.clone(),
        message: finding.message.replace(&here, "").replace('\n', " "),
    };
    Looked { said: findings.iter().filter(|finding| counts(finding)).map(said).collect(), depth }
}

fn counts(finding: &Finding) -> bool {
    finding.severity >= Severity::Warning && finding.code != Some("SPEC044")
}

/// The list's lines, each with its heading.
fn read(text: &str) -> BTreeMap<Said, Reason> {
    let mut listed = BTreeMap::new();
    let mut heading: Option<Reason> = None;
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        if let (Some(entry), Some(reason)) = (line.strip_prefix("  "), &heading) {
            let (file, message) = entry.split_once(": ").unwrap_or((entry, ""));
            let said = Said { rule: reason.rule.clone(), file: file.to_owned(), message: message.to_owned() };
            listed.insert(said, reason.clone());
        } else {
            let (rule, why) = line.split_once(':').unwrap_or((line, ""));
            heading = Some(Reason { rule: rule.trim().to_owned(), why: why.trim().to_owned() });
        }
    }
    listed
}

/// The list as it should be. A finding that says it in other words keeps its reason, and so does one more of the same rule in a file.
fn write(summary: &str, found: &BTreeSet<Said>, listed: &BTreeMap<Said, Reason>) -> String {
    let same = |said: &Said| {
        let alike = |(other, _): &(&Said, &Reason)| other.rule == said.rule && other.file == said.file;
        listed.get(said).or_else(|| listed.iter().find(alike).map(|(_, reason)| reason)).cloned()
    };
    let mut sections: BTreeMap<Reason, Vec<&Said>> = BTreeMap::new();
    for said in found {
        let reason = same(said).unwrap_or_else(|| Reason { rule: said.rule.clone(), why: String::new() });
        sections.entry(reason).or_default().push(said);
    }
    let mut text = format!("# {summary}.\n");
    for (Reason { rule, why }, all) in sections {
        _ = writeln!(text, "\n{rule}: {why}");
        for Said { file, message, .. } in all {
            _ = writeln!(text, "  {file}: {message}");
        }
    }
    text
}

/// What is wrong with the list, a line each.
fn compare(path: &Path, list: &str, summary: &str, found: &BTreeSet<Said>) -> String {
    let (path, listed) = (path.display(), read(list));
    let mut wrong = String::new();
    for Said { rule, file, message } in found.iter().filter(|said| !listed.contains_key(said)) {
        _ = writeln!(wrong, "not in {path}: {rule}: {file}: {message}");
    }
    for Said { rule, file, message } in listed.keys().filter(|said| !found.contains(said)) {
        _ = writeln!(wrong, "in {path}, and not found: {rule}: {file}: {message}");
    }
    let unexplained: BTreeSet<&Reason> = listed.values().filter(|reason| reason.why.is_empty()).collect();
    for Reason { rule, .. } in unexplained {
        _ = writeln!(wrong, "in {path}: `{rule}` has no reason");
    }
    if list.lines().next() != Some(&format!("# {summary}.")) {
        _ = writeln!(wrong, "{path}: it should begin with `# {summary}.`");
    }
    wrong
}
