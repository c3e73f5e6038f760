//! Whether a YAML or JSON file is a plan, by what is in it: for files that nobody named as one.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use memspec::exchange::foreign;

/// Larger files are data.
const LARGEST: u64 = 1 << 20;
/// Many files have a `name` and a `model`: what is trained, and how, is only said in a plan.
const BLOCKS: [&str; 7] = ["adapter", "quantize", "data", "train", "eval", "serve", "budget"];

/// Whether a file's name says that it may be a plan written as YAML or JSON.
pub(super) fn may_be(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&&*extension.to_ascii_lowercase()))
}

/// Whether a file is such a plan, or another trainer's that trains something. One that cannot be read is none.
pub(super) fn is_plan_file(path: &Path) -> bool {
    may_be(path)
        && small_text(path).is_some_and(|text| is_plan_text(&text) || foreign::detect_training(&text).is_some())
}

fn small_text(path: &Path) -> Option<String> {
    let mut text = String::new();
    let read = File::open(path).ok()?.take(LARGEST + 1).read_to_string(&mut text).ok()?;
    (read as u64 <= LARGEST).then_some(text)
}

fn is_plan_text(text: &str) -> bool {
    if let Ok(serde_json::Value::Object(root)) = serde_json::from_str(text) {
        let is_plan =
            |object: &serde_json::Map<String, serde_json::Value>| is_plan_with(|key| object.contains_key(key));
        let plans = root.get("plans").and_then(serde_json::Value::as_array);
        return plans
            .map_or_else(|| is_plan(&root), |plans| plans.iter().filter_map(|plan| plan.as_object()).any(is_plan));
    }
    // By lines, so that a file with a mistake is known for what it is. Only keys of the file itself count, and those of `plans`.
    let plans = text.lines().any(|line| key(line) == Some("plans"));
    is_plan_with(|wanted| {
        text.lines().any(|line| key(if plans { line.trim_start_matches([' ', '-']) } else { line }) == Some(wanted))
    })
}

fn is_plan_with(has: impl Fn(&str) -> bool) -> bool {
    has("name") && has("model") && BLOCKS.into_iter().any(has)
}

/// The key of a line that begins with one.
fn key(line: &str) -> Option<&str> {
    Some(line.split_once(':')?.0.trim_end().trim_matches(['"', '\'']))
}

#[cfg(test)]
mod tests {
    use super::is_plan_text;

    #[test]
    fn plans_are_known_by_what_they_train() {
        for plan in [
            "name: a\nmodel: b\ntrain: {micro_batch: 1}\n",
            "\"name\": a\nmodel: b\nquantize: {kind: nf4\n",
            "plans:\n  - name: a\n    model: b\n    data: {context: 512}\n",
            r#"{"name": "a", "model": "b", "data": {}}"#,
            r#"{"plans": [{"name": "a", "model": "b", "serve": {}}]}"#,
        ] {
            assert!(is_plan_text(plan), "{plan}");
        }
    }

    #[test]
    fn other_files_are_left_alone() {
        for other in [
            "name: CI\non: push\njobs:\n  train:\n    runs-on: x\n    model: y\n",
            "name: agent\nmodel: gpt-4\ninstructions: be kind\n",
            "plans:\n  - name: free\n    price: 0\n",
            "services:\n  web:\n    name: a\n    model: b\n    data: c\n",
            r#"{"name": "a", "version": "1.0.0", "train": {"model": "x"}}"#,
            r#"[{"name": "a", "model": "b", "data": 1}]"#,
            "",
        ] {
            assert!(!is_plan_text(other), "{other}");
        }
    }
}
