//! Plans for the tests: a clean one, and fragments put into it.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod command;

use std::path::Path;

use memspec::model::Environment;
use memspec::plan::{Document, read_text};
use memspec_lint::{Finding, Linter};

/// A plan that lints clean everywhere: a small model on a card of the catalog.
pub(crate) const CLEAN: &str = r#"model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
device = t4
adapter lora { rank = 16 }
data { context = 512tok }
train { micro_batch = 1 }
"#;

/// The folder that the tests' plans are relative to, with `data/train.jsonl`, `data/eval.jsonl` and `data/empty.jsonl`.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    std::fs::write(folder.path().join("data/train.jsonl"), "{\"text\": \"one\"}\n").unwrap();
    std::fs::write(folder.path().join("data/eval.jsonl"), "{\"text\": \"two\"}\n").unwrap();
    std::fs::write(folder.path().join("data/empty.jsonl"), " \n\n").unwrap();
    folder
}

/// A linter that finds models in the catalog only.
pub(crate) fn linter(base: &Path) -> Linter {
    Linter::new(base, Environment::default())
}

pub(crate) fn check(base: &Path, text: &str) -> (Document, Vec<Finding>) {
    let document = read_text("plan.mem", text);
    let findings = linter(base).check(&document);
    (document, findings)
}

/// The clean plan with a fragment's statements in place of its own; a fragment with a plan or an edition is a file already.
pub(crate) fn with(fragment: &str) -> String {
    if fragment.lines().any(|line| line.starts_with("plan ") || line.starts_with("mem ")) {
        return fragment.to_owned();
    }
    let mut statements = statements(CLEAN);
    for (name, text) in self::statements(fragment) {
        match statements.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = text,
            None => statements.push((name, text)),
        }
    }
    let body: String = statements.iter().flat_map(|(_, text)| text.lines()).map(|line| format!("  {line}\n")).collect();
    format!("plan \"example\" {{\n{body}}}\n")
}

/// The statements of a text at depth 0 by their first word, with the comments above them.
fn statements(text: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let (mut now, mut depth) = (String::new(), 0);
    for line in text.lines().filter(|line| !line.is_empty()) {
        now += line;
        now.push('\n');
        depth += line.matches(['{', '[']).count() as i64 - line.matches(['}', ']']).count() as i64;
        if depth == 0 && !line.trim_start().starts_with('#') {
            let code = now.lines().find(|line| !line.trim_start().starts_with('#')).unwrap_or_default();
            let name = code.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default().to_owned();
            all.push((name, std::mem::take(&mut now)));
        }
    }
    assert!(now.is_empty(), "an example ends inside a block: {text}");
    all
}

/// A generated file is as the code would write it; with `MEMSPEC_UPDATE=1` it is written.
pub(crate) fn fresh(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("MEMSPEC_UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{} is stale: MEMSPEC_UPDATE=1 cargo test -p memspec-lint writes it", path.display());
}
