//! Giving settings their values in the text, as each notation writes them.

use memspec::plan::read_text;
use memspec_lint::fix::{apply, edit_settings, remove_setting};

/// The text after the settings are given, which must read without a mistake and have them.
fn set(name: &str, text: &str, settings: &[(&str, &str)]) -> String {
    let document = read_text(name, text);
    assert_eq!(document.problems, [], "{text}");
    let settings: Vec<(&str, String)> = settings.iter().map(|(path, value)| (*path, (*value).to_owned())).collect();
    let edits = edit_settings(&document, 0, &settings).unwrap();
    let after = apply(text, &edits).unwrap();
    let read = read_text(name, after.clone());
    assert_eq!(read.problems, [], "{after}");
    for (path, _) in &settings {
        let place = if path.contains('.') || memspec::plan::Plan::setting(path).is_some() {
            (*path).to_owned()
        } else {
            format!("{path}.kind")
        };
        assert!(read.plans[0].spans.get(&place).is_some(), "{place} in\n{after}");
    }
    after
}

const MEM: &str = r#"plan "x" {
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"   # small
  device = t4

  adapter lora { rank = 16 }

  train {
    micro_batch   = fit [8, 4]   # the first that fits
    learning_rate = 1e-4
  }
}
"#;

#[test]
fn what_is_written_is_replaced() {
    insta::assert_snapshot!(set(
        "x.mem",
        MEM,
        &[("train.micro_batch", "2"), ("device", "a100-80"), ("adapter.rank", "8")]
    ));
}

#[test]
fn what_is_not_written_goes_where_it_belongs() {
    insta::assert_snapshot!(set(
        "x.mem",
        MEM,
        &[
            ("train.accumulate", "4"),
            ("adapter.alpha", "8"),
            ("data.context", "512tok"),
            ("quantize", "nf4"),
            ("engine", "memspec"),
            ("data.path", "train.jsonl"),
        ]
    ));
}

#[test]
fn a_plan_on_one_line_stays_on_it() {
    insta::assert_snapshot!(set(
        "x.mem",
        r#"plan "x" { model = "HuggingFaceTB/SmolLM2-135M-Instruct"; train { } }"#,
        &[("train.micro_batch", "2"), ("train.accumulate", "4"), ("data.context", "512tok"), ("device", "t4")]
    ));
}

#[test]
fn yaml_keeps_its_indentation() {
    let text = "name: x\nmodel: HuggingFaceTB/SmolLM2-135M-Instruct\ntrain:\n    micro_batch: 4   # four\n\nadapter: {kind: lora, rank: 16}\n";
    insta::assert_snapshot!(set(
        "x.yaml",
        text,
        &[
            ("train.micro_batch", "2"),
            ("train.accumulate", "8"),
            ("adapter.alpha", "8"),
            ("data.context", "512tok"),
            ("quantize", "nf4")
        ]
    ));
}

#[test]
fn json_keeps_its_quotes() {
    let text = "{\n  \"name\": \"x\",\n  \"model\": \"HuggingFaceTB/SmolLM2-135M-Instruct\",\n  \"train\": {\n    \"micro_batch\": 4\n  }\n}\n";
    insta::assert_snapshot!(set(
        "x.json",
        text,
        &[
            ("train.micro_batch", "2"),
            ("train.accumulate", "8"),
            ("train.checkpointing", "block"),
            ("data.context", "512tok"),
            ("quantize", "nf4")
        ]
    ));
}

#[test]
fn line_ends_stay_as_they_are() {
    let text = MEM.replace('\n', "\r\n");
    let after = set("x.mem", &text, &[("train.accumulate", "4"), ("data.context", "512tok")]);
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count(), "{after:?}");
    assert!(after.contains("    accumulate    = 4\r\n  }\r\n"), "{after}");
}

#[test]
fn a_path_that_no_plan_has_is_not_written() {
    let document = read_text("x.mem", MEM);
    for path in ["train.nothing", "nothing", "nothing.rank"] {
        assert!(edit_settings(&document, 0, &[(path, "1".to_owned())]).is_none(), "{path}");
    }
    assert!(edit_settings(&document, 1, &[("device", "t4".to_owned())]).is_none());
}

/// The text without a setting, which must read without a mistake and no longer have it.
fn check_removed(name: &str, text: &str, path: &str, expected: &str) {
    let document = read_text(name, text);
    assert_eq!(document.problems, [], "{text}");
    let after = apply(text, &remove_setting(&document, 0, path).unwrap()).unwrap();
    let read = read_text(name, after.clone());
    assert_eq!((after.as_str(), read.problems.as_slice()), (expected, [].as_slice()), "{path} of {text}");
    assert!(read.plans[0].spans.get(path).is_none(), "{path} in\n{after}");
}

#[test]
fn what_is_removed_takes_its_line_or_its_separator() {
    let mem = "plan \"x\" {\n  model = \"m\"\n  device = t4  # small\n  save { every = 5; merge = true }\n  train {\n    clip = 1 # why\n    epochs = 2\n  }\n}\n";
    check_removed("x.mem", mem, "train.clip", &mem.replace("    clip = 1 # why\n", ""));
    check_removed("x.mem", mem, "device", &mem.replace("  device = t4  # small\n", ""));
    check_removed("x.mem", mem, "save.merge", &mem.replace("; merge = true", ""));
    check_removed("x.mem", mem, "save.every", &mem.replace("every = 5; ", ""));
    check_removed("x.mem", mem, "save", &mem.replace("  save { every = 5; merge = true }\n", ""));
    // a block goes with its last setting, unless it has a kind
    let alone = "plan \"x\" {\n  model = \"m\"\n  save { merge = true }\n  adapter lora { rank = 4 }\n}\n";
    check_removed("x.mem", alone, "save.merge", &alone.replace("  save { merge = true }\n", ""));
    check_removed("x.mem", alone, "adapter.rank", &alone.replace("rank = 4 ", ""));
    let yaml = "name: x\nmodel: m\ntrain:\n  clip: 1\n  epochs: 2 # passes\nsave: {every: 5, merge: true}\n";
    check_removed("x.yaml", yaml, "train.epochs", &yaml.replace("  epochs: 2 # passes\n", ""));
    check_removed("x.yaml", yaml, "save.merge", &yaml.replace(", merge: true", ""));
    let json =
        "{\n  \"name\": \"x\",\n  \"model\": \"m\",\n  \"train\": {\n    \"clip\": 1,\n    \"epochs\": 2\n  }\n}\n";
    check_removed("x.json", json, "train.epochs", &json.replace(",\n    \"epochs\": 2", ""));
    check_removed("x.json", json, "train.clip", &json.replace("    \"clip\": 1,\n", ""));
    check_removed(
        "x.json",
        json,
        "train",
        &json.replace(&json[json.find(",\n  \"train\"").unwrap()..json.rfind("\n}").unwrap()], ""),
    );
}

#[test]
fn what_is_not_there_is_not_removed() {
    let document = read_text("x.mem", MEM);
    for path in ["train.clip", "save", "nothing.rank"] {
        assert!(remove_setting(&document, 0, path).is_none(), "{path}");
    }
    assert!(remove_setting(&document, 1, "device").is_none());
}
