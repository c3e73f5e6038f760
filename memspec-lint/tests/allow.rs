//! Comments that allow findings, and plans that a linter must not trip over.

mod common;

use common::{check, folder, linter};
use memspec::plan::read_text;
use memspec_lint::fix::{Applicability, fix};

/// A plan with two findings, each on a line that a comment can stand on.
const PLAN: &str = r#"FILE
PLAN
plan "x" {  # BEHIND_PLAN
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
  device = t4
  adapter lora { rank = 16 }
  BLOCK
  train {
    PRECISION
    precision = bf16  # BEHIND
  }
  data { context = 512tok }
  LIMIT
  budget { device_memory <= 12GB }
}
"#;

/// The rules that are found when comments stand at these places.
fn found(comments: &[(&str, &str)]) -> Vec<&'static str> {
    let mut text = PLAN.to_owned();
    for place in ["BEHIND_PLAN", "FILE", "PLAN", "BLOCK", "PRECISION", "BEHIND", "LIMIT"] {
        let comment = comments.iter().find(|(at, _)| *at == place).map_or("", |(_, comment)| comment);
        // `BEHIND_PLAN` is replaced before `PLAN` and `BEHIND`.
        text = text.replacen(&format!("# {place}"), place, 1).replacen(place, comment, 1);
    }
    text = text.replace(" \n", "\n").replace("plan \"x\" {\n\n", "plan \"x\" {\n");
    let folder = folder();
    let (_, findings) = check(folder.path(), &text);
    findings.iter().map(|finding| finding.rule).collect()
}

const BF16: &str = "bf16-on-pre-ampere";
const UNIT: &str = "ambiguous-unit";

#[test]
fn a_comment_holds_for_its_line_and_the_one_below() {
    assert_eq!(found(&[]), [BF16, UNIT]);
    assert_eq!(found(&[("BEHIND", "# memspec: allow(bf16-on-pre-ampere) emulated")]), [UNIT]);
    assert_eq!(found(&[("PRECISION", "# memspec: allow(HW001) emulated")]), [UNIT]);
    assert_eq!(found(&[("LIMIT", "# memspec: allow(ambiguous-unit)")]), [BF16]);
}

#[test]
fn above_a_block_or_plan_it_holds_for_all_of_it() {
    assert_eq!(found(&[("BLOCK", "# memspec: allow(HW001) emulated")]), [UNIT]);
    assert_eq!(found(&[("PLAN", "# memspec: allow(HW001, SPEC004) as it is")]), [""; 0]);
    assert_eq!(found(&[("BEHIND_PLAN", "# memspec: allow(HW001, SPEC004) as it is")]), [""; 0]);
    assert_eq!(found(&[("FILE", "# memspec: file-allow(HW001) as it is")]), [UNIT]);
}

#[test]
fn a_comment_that_silences_nothing_is_found() {
    assert_eq!(found(&[("LIMIT", "# memspec: allow(HW001) wrong place")]), [BF16, "unused-allow", UNIT]);
    assert_eq!(found(&[("LIMIT", "# memspec: allow(SPEC004, thin-headroom)")]), [BF16, "unused-allow"]);
}

#[test]
fn one_name_of_several_is_removed() {
    let folder = folder();
    let text = common::with("# memspec: allow(HW001, thin-headroom) both\ntrain { precision = bf16 }");
    let fixed = fix(&linter(folder.path()), read_text("plan.mem", text), Applicability::Safe);
    assert!(fixed.document.source.text.contains("  # memspec: allow(HW001) both\n"), "{}", fixed.document.source.text);
    assert!(fixed.findings.is_empty());
}

#[test]
fn a_comment_behind_a_setting_is_removed_without_it() {
    let folder = folder();
    let text = common::with("train {\n  micro_batch = 1  # memspec: allow(HW001) once\n}");
    let fixed = fix(&linter(folder.path()), read_text("plan.mem", text), Applicability::Safe);
    assert!(fixed.document.source.text.contains("    micro_batch = 1\n"), "{}", fixed.document.source.text);
}

#[test]
fn while_a_plan_has_mistakes_no_comment_is_called_unused() {
    let folder = folder();
    let text = common::with("# memspec: allow(thin-headroom) measured\ntrain { micro_batch = }");
    let (_, findings) = check(folder.path(), &text);
    assert_eq!(findings.iter().map(|finding| finding.rule).collect::<Vec<_>>(), ["syntax"]);
}

#[test]
fn a_mistake_of_the_text_cannot_be_allowed() {
    let folder = folder();
    let (_, findings) =
        check(folder.path(), &common::with("# memspec: allow(unknown-setting)\ntrain { micro_bach = 1 }"));
    assert!(findings.iter().any(|finding| finding.rule == "unknown-setting"));
}

#[test]
fn every_plan_of_a_file_is_repaired() {
    let plan = |name: &str, batch: &str| {
        common::with(&format!(
            "data {{ context = 2048tok }}\ntrain {{ micro_batch = {batch} }}\nbudget {{ device_memory <= 800MiB }}"
        ))
        .replace("example", name)
    };
    let text = plan("a", "16") + &plan("b", "fit [16, 8]") + &plan("c", "12");
    let folder = folder();
    let fixed = fix(&linter(folder.path()), read_text("plan.mem", text), Applicability::Safe);
    assert!(fixed.findings.is_empty(), "{}\n{:#?}", fixed.document.source.text, fixed.findings);
    assert_eq!(fixed.document.plans.len(), 3);
}

#[test]
fn a_sweep_is_not_ended_by_a_safe_fix() {
    let text = common::with(
        "data { context = 2048tok }\ntrain { micro_batch = sweep [16, 8] }\nbudget { device_memory <= 1GiB }",
    );
    let folder = folder();
    let fixed = fix(&linter(folder.path()), read_text("plan.mem", text.clone()), Applicability::Safe);
    assert!(fixed.document.source.text.contains("sweep [16, 8]"), "{}", fixed.document.source.text);
}

#[test]
fn absurd_numbers_are_findings() {
    let folder = folder();
    for text in [
        "train { micro_batch = 4294967295; accumulate = 4294967295 }",
        "data { context = 9007199254740992tok }",
        "adapter lora { rank = 4294967295 }",
        "train { micro_batch = 4294967295; checkpointing = 4294967295 }\ndata { context = 9007199254740992tok }",
        "train { accumulate = 4294967295; micro_batch = 8 }\nbudget { device_memory <= 1MiB }",
        "budget { device_memory <= 1KiB; headroom >= 500% }",
        "budget { device_memory <= 8388607TiB }",
    ] {
        let document = read_text("plan.mem", common::with(text));
        let fixed = fix(&linter(folder.path()), document.clone(), Applicability::Unsafe);
        assert!(!linter(folder.path()).check(&document).is_empty(), "{text}: {:?}", fixed.findings);
    }
}

#[test]
fn broken_texts_are_checked_and_fixed_without_a_panic() {
    let folder = folder();
    let linter = linter(folder.path());
    let text = PLAN.replace("12GB", "100MiB").replace("bf16", "fp16");
    for end in (0..text.len()).step_by(3).filter(|end| text.is_char_boundary(*end)) {
        let without = format!("{}{}", &text[..end], text.get(end + 5..).unwrap_or_default());
        for broken in [&text[..end], &without] {
            fix(&linter, read_text("plan.mem", broken), Applicability::Unsafe);
            fix(&linter, read_text("plan.yaml", broken), Applicability::Unsafe);
        }
    }
    for text in [
        "",
        "\r\n",
        "plan \"é\" {\r\n  model = \"x\"\r\n}\r\n",
        "[]",
        "{",
        "plans: [1, {name: x}]",
        "\u{feff}plan \"x\" { }",
    ] {
        for name in ["x.mem", "x.yaml", "x.json"] {
            fix(&linter, read_text(name, text), Applicability::Unsafe);
        }
    }
}
