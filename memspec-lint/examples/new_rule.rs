//! Scaffolds a lint rule: its file with an empty page, its line in the family's `mod.rs` and in the table of `registry.rs`.
//!
//! ```sh
//! cargo run -p memspec-lint --example new_rule -- optimizer slow-optimizer OPT
//! ```
//!
//! The family is a folder of `src/rules/`; the letters are those of its codes, and may be left out where all rules of the folder
//! have the same.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

const PAGE: &str = r"//! # NAME (CODE)
//!
//! ## What it does
//! Finds ..
//!
//! ## Why is this bad?
//! ..
//!
//! ## Example
//! ```mem
//! train { micro_batch = 2 }
//! ```
//!
//! ## Use instead
//! ```mem
//! train { micro_batch = 1 }
//! ```
//!
//! ## Fix safety
//! Unsafe: ..
//!
//! ## References
//! - <https://..>

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| setup.train.micro_batch > 1)?;
        Some(
            Finding::new(rule, format!(`what is wrong with {}`, setup.train.micro_batch))
                .at(plan.written, `train.micro_batch`, `a few words beside it`)
                .help(`what to do`)
                .fix(context.set(plan, `train.micro_batch`, `1`, Applicability::Unsafe)),
        )
    })
}
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (family, name, letters) = match arguments.as_slice() {
        [family, name] => (family, name, None),
        [family, name, letters] => (family, name, Some(letters.as_str())),
        _ => {
            eprintln!("usage: new_rule FAMILY NAME [LETTERS], as in: new_rule optimizer slow-optimizer OPT");
            return ExitCode::from(2);
        }
    };
    match scaffold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), family, name, letters) {
        Ok(file) => {
            println!("{file}: write its page and its check, then");
            println!("  cargo test -p memspec-lint --test rules");
            println!("  MEMSPEC_UPDATE=1 cargo test -p memspec-lint generated_files_are_fresh");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Writes the rule's file and its two lines; returns the file's path.
fn scaffold(source: &Path, family: &str, name: &str, letters: Option<&str>) -> Result<String, String> {
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Err(format!("`{name}`: a rule's name is lower case words with `-` between, and says what it finds"));
    }
    let file = name.replace('-', "_");
    let registry = source.join("registry.rs");
    let folder = source.join("rules").join(family);
    let (table, modules) = (read(&registry)?, read(&folder.join("mod.rs"))?);
    if table.contains(&format!("\"{name}\"")) {
        return Err(format!("there is a rule `{name}`"));
    }
    let code = next_code(&table, family, letters)?;
    let path = folder.join(format!("{file}.rs"));
    write(&path, &PAGE.replace("NAME", name).replace("CODE", &code).replace('`', "\"").replace("\"\"\"", "```"))?;
    write(&folder.join("mod.rs"), &with_module(&modules, &file))?;
    let line = format!("    \"{code}\" \"{name}\" Warning Certain {family}::{file};");
    write(&registry, &with_rule(&table, &code, &line)?)?;
    Ok(path.display().to_string())
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The letters and number of a line of the table.
fn code_of(line: &str) -> Option<(&str, u32)> {
    let code = line.trim_start().strip_prefix('"')?.split('"').next()?;
    let letters = code.trim_end_matches(|c: char| c.is_ascii_digit());
    Some((letters, code[letters.len()..].parse().ok()?))
}

/// The next free code with these letters, or with those that all rules of the family have.
fn next_code(table: &str, family: &str, letters: Option<&str>) -> Result<String, String> {
    let of_family = table.lines().filter(|line| line.contains(&format!(" {family}::")));
    let mut known: Vec<&str> = of_family.filter_map(|line| Some(code_of(line)?.0)).collect();
    known.dedup();
    let letters = match (letters, known.as_slice()) {
        (Some(letters), _) => letters,
        (None, [letters]) => letters,
        (None, _) => return Err(format!("name the letters of the code: the family {family} has {}", known.join(", "))),
    };
    let codes = table.lines().filter_map(code_of).filter(|(of, _)| *of == letters);
    let next = codes.map(|(_, number)| number).max().unwrap_or(0) + 1;
    Ok(format!("{letters}{next:03}"))
}

/// The family's `mod.rs` with the module among the others.
fn with_module(modules: &str, file: &str) -> String {
    let (head, list) = modules.split_once("\n\n").unwrap_or((modules, ""));
    let mut lines: Vec<String> = list.lines().map(str::to_owned).collect();
    lines.push(format!("pub mod {file};"));
    lines.sort();
    format!("{head}\n\n{}\n", lines.join("\n"))
}

/// The table with the line behind the last one with the same letters.
fn with_rule(table: &str, code: &str, line: &str) -> Result<String, String> {
    let letters = code.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut lines: Vec<&str> = table.lines().collect();
    let has_letters = |known: &&str| code_of(known).is_some_and(|(of, _)| of == letters);
    let last = lines.iter().rposition(has_letters).or_else(|| lines.iter().rposition(|line| code_of(line).is_some()));
    lines.insert(last.ok_or("registry.rs has no table of rules")? + 1, line);
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The crate's own table and families, in a folder of their own.
    fn copy() -> tempfile::TempDir {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let copy = tempfile::tempdir().unwrap();
        fs::create_dir_all(copy.path().join("rules/optimizer")).unwrap();
        for file in ["registry.rs", "rules/optimizer/mod.rs"] {
            fs::copy(source.join(file), copy.path().join(file)).unwrap();
        }
        copy
    }

    #[test]
    fn a_rule_is_a_file_and_two_lines() {
        let copy = copy();
        let before = read(&copy.path().join("registry.rs")).unwrap();
        scaffold(copy.path(), "optimizer", "slow-optimizer", None).unwrap();
        let table = read(&copy.path().join("registry.rs")).unwrap();
        let code = next_code(&before, "optimizer", None).unwrap();
        let line = format!("    \"{code}\" \"slow-optimizer\" Warning Certain optimizer::slow_optimizer;\n");
        assert_eq!(table.replace(&line, ""), before);
        assert!(read(&copy.path().join("rules/optimizer/mod.rs")).unwrap().contains("pub mod slow_optimizer;\n"));
        let page = read(&copy.path().join("rules/optimizer/slow_optimizer.rs")).unwrap();
        assert!(page.starts_with(&format!("//! # slow-optimizer ({code})\n")) && page.contains("//! ```mem\n"));
        assert!(page.contains(r#"context.set(plan, "train.micro_batch", "1", Applicability::Unsafe)"#), "{page}");
    }

    #[test]
    fn what_cannot_be_a_rule_is_told() {
        let copy = copy();
        let told = |family, name| scaffold(copy.path(), family, name, None).unwrap_err();
        assert!(told("optimizer", "Slow").contains("lower case"));
        assert!(told("optimizer", "peak-over-budget").contains("there is a rule"));
        assert!(told("optimiser", "slow").contains("cannot read"));
    }
}
