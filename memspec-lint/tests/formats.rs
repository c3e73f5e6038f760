//! The forms in which `check` prints what it finds, and what it writes and watches.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::command::{folder, run};
use serde_json::Value;

/// A plan that takes more than it may, and one with a little room. The path needs quoting in a URI.
const BIG: &str = r#"plan "big" {
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
  device = t4
  adapter lora { rank = 16 }
  data { context = 2048tok }
  train { micro_batch = 16 }
  budget { device_memory <= 800MiB }
}
"#;
const THIN: &str = r#"plan "thin" {
  model  = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
  device = t4
  adapter lora { rank = 16 }
  data { context = 2048tok }
  train { micro_batch = 6 }
}
"#;
const FILES: &[(&str, &str)] = &[("a b/big.mem", BIG), ("thin.mem", THIN)];

/// What `check` prints of the two plans' memory.
fn printed(format: &str) -> String {
    let ran = run(folder(FILES).path(), &["check", "--select", "MEM001,MEM002", "--output-format", format]);
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    ran.out
}

#[test]
fn sarif_is_as_its_schema_says() {
    let log: Value = serde_json::from_str(&printed("sarif")).unwrap();
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sarif-2.1.0.schema.json");
    let mut schema: Value = serde_json::from_str(&fs::read_to_string(schema).unwrap()).unwrap();
    // The published pattern of a run's language has a bracket too many, which strict readers refuse; nothing here has a language.
    for of in ["run", "toolComponent"] {
        schema["definitions"][of]["properties"]["language"].as_object_mut().unwrap().remove("pattern").unwrap();
    }
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert_eq!(errors, [""; 0]);
    // and the schema can say no
    let mut wrong = log.clone();
    wrong["runs"][0]["results"][0]["level"] = "fatal".into();
    assert!(!validator.is_valid(&wrong));

    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(result["ruleId"], "MEM001");
    let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
    assert_eq!(rule["id"], "MEM001");
    assert!(rule["help"]["markdown"].as_str().unwrap().starts_with("# peak-over-budget (MEM001)\n"));
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "a%20b/big.mem");
    assert_eq!((&place["region"]["startLine"], &place["region"]["startColumn"]), (&7.into(), &12.into()));
    let changes = &result["fixes"][0]["artifactChanges"][0]["replacements"];
    assert!(!changes.as_array().unwrap().is_empty());
}

#[test]
fn annotations_of_a_workflow() {
    insta::assert_snapshot!(printed("github"));
}

#[test]
fn sentences_for_screen_readers() {
    let narrated = printed("narrated");
    assert!(!narrated.contains(['│', '╭', '×']), "{narrated}");
    insta::assert_snapshot!(narrated);
    // miette's own variable asks for the same
    let folder = folder(FILES);
    let with = |name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memspec-lint"));
        command.current_dir(folder.path()).args(["check", "--select", "MEM001,MEM002"]).env(name, value);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(with("NO_GRAPHICS", "1"), narrated);
    // narrow, and never wider than it says
    let narrow = with("COLUMNS", "50");
    let drawn = narrow.lines().filter(|line| !line.contains('│') && !line.contains('·'));
    let widest = drawn.map(|line| line.chars().count()).max().unwrap();
    assert!(widest <= 80 && narrow.lines().count() > printed("full").lines().count(), "{widest} {narrow}");
}

#[test]
fn nothing_is_coloured_in_a_pipe() {
    for format in ["full", "concise", "json", "sarif", "github", "narrated"] {
        assert!(!printed(format).contains('\u{1b}'), "{format}");
    }
}

#[test]
fn statistics_count_by_rule() {
    let folder = folder(&[("a.mem", BIG), ("b.mem", BIG), ("c.mem", THIN)]);
    let ran = run(folder.path(), &["check", "--select", "MEM001,MEM002", "--statistics"]);
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[..2], ["2  MEM001  peak-over-budget  2 fixable", "1  MEM002  thin-headroom"], "{}", ran.out);
    let json = run(folder.path(), &["check", "--select", "MEM001,MEM002", "--statistics", "--json"]);
    let counts: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&counts[0]["rule"], &counts[0]["count"]), (&"peak-over-budget".into(), &2.into()));
}

#[test]
fn comments_that_allow_are_written_where_something_is_found() {
    let again = THIN.replace("  device = t4", "  # memspec: allow(MEM018) no\n  device = t4");
    let folder = folder(&[("big.mem", BIG), ("thin.mem", &again), ("bad.mem", "plan \"b\" {\n  modle = 1\n}\n")]);
    let memory = ["--select", "MEM", "--add-allow=as in the paper"];
    let ran = run(folder.path(), &[&["check", "big.mem"], &memory[..]].concat());
    assert_eq!((ran.code, ran.out.lines().next()), (0, Some("big.mem: allowed peak-over-budget")), "{}", ran.out);
    let text = fs::read_to_string(folder.path().join("big.mem")).unwrap();
    let comment = "  # memspec: allow(peak-over-budget) as in the paper\n  budget { device_memory <= 800MiB }\n";
    assert_eq!(text, BIG.replace("  budget { device_memory <= 800MiB }\n", comment));
    // One comment a line: what stands there gets one more name.
    run(folder.path(), &[&["check", "thin.mem"], &memory[..]].concat());
    let text = fs::read_to_string(folder.path().join("thin.mem")).unwrap();
    assert!(text.contains("  # memspec: allow(MEM018, thin-headroom) no\n  device = t4\n"), "{text}");
    // Mistakes of the text are not allowed away.
    let bad = run(folder.path(), &[&["check", "bad.mem"], &memory[..]].concat());
    assert!(bad.code == 1 && bad.out.contains("SPEC002"), "{}", bad.out);
    assert_eq!(fs::read_to_string(folder.path().join("bad.mem")).unwrap(), "plan \"b\" {\n  modle = 1\n}\n");
}

#[test]
fn watching_checks_again_when_a_file_changes() {
    let folder = folder(&[("a.mem", THIN)]);
    let mut watching = Command::new(env!("CARGO_BIN_EXE_memspec-lint"))
        .current_dir(folder.path())
        .args(["check", "--watch", "--select", "MEM001,MEM002", "--output-format", "concise"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines().map(Result::unwrap);
    // Up to the line that ends a check.
    let mut check = || lines.by_ref().take_while(|line| !line.starts_with("watching")).collect::<Vec<_>>();
    assert!(check()[0].contains("MEM002"));
    fs::write(folder.path().join("a.mem"), THIN.replace("micro_batch = 6", "micro_batch = 64")).unwrap();
    assert!(check()[0].contains("MEM001"));
    fs::write(folder.path().join("memspec.toml"), "[lint]\nignore = [\"MEM\"]\n").unwrap();
    let ignored = check();
    watching.kill().unwrap();
    watching.wait().unwrap();
    // What was selected on the command line goes before.
    assert!(ignored[0].contains("MEM001"), "{ignored:?}");
}
