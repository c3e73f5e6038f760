//! Giving settings their values in the text, as each notation writes them.

use memspec::plan::read_text;
use memspec_lint::fix::{apply, edit_settings};

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
