//! What plans get from profiles, other files, other settings and the environment.
#![cfg(feature = "lang")]

use std::fs;

use memspec::lang::write;
use memspec::plan::{Choice, Document, Plan, read, read_text};

/// The document of the first file; the others lie beside it.
fn files(files: &[(&str, &str)]) -> (tempfile::TempDir, Document) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("memspec.toml"), "").unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let document = read(folder.path().join(files[0].0));
    (folder, document)
}

/// The plans of files without a mistake.
fn plans(list: &[(&str, &str)]) -> Vec<Plan> {
    let (_folder, document) = files(list);
    assert_eq!(document.problems, []);
    document.plans.into_iter().map(|written| written.plan).collect()
}

#[test]
fn what_is_nearer_wins_and_the_rest_is_merged_setting_by_setting() {
    let [plan] = plans(&[(
        "a.mem",
        r#"
profile base {
  model = "m"
  adapter lora { rank = 8; targets = [q_proj, v_proj] }
  train { epochs = 3; learning_rate = 1e-4 }
  budget { device_memory <= 14GiB }
}
profile careful extends base { train { learning_rate = 5e-5; clip = 0.3 } }
plan "p" extends careful {
  adapter { rank = 32 }
  train { epochs = 1 }
  budget { device_memory <= 20GiB; headroom >= 5% }
}
"#,
    )])
    .try_into()
    .unwrap();
    let written = write(&plan);
    insta::assert_snapshot!(written);
    // and all of it is in the plan as it is written out
    assert_eq!(read_text("p.mem", written).plans[0].plan, plan);
}

#[test]
fn what_a_plan_inherits_is_known_and_where_it_stands() {
    let (_folder, document) = files(&[
        (
            "a.mem",
            "import \"b.mem\" as b\nprofile p { train { epochs = 3 } }\nplan \"x\" extends p, b.q { model = \"m\"; train { clip = 1 } }\n",
        ),
        ("b.mem", "profile q { train { steps = 3; betas = [0.9, 0.95] } }\n"),
    ]);
    assert_eq!(document.problems, []);
    assert_eq!(document.imports.len(), 1);
    let spans = &document.plans[0].spans;
    let text = |path: &str| &document.source.text[spans.get(path).unwrap().value.clone()];
    assert_eq!((text("train.epochs"), text("train.steps"), text("train.betas[1]")), ("3", "b.q", "b.q"));
    assert_eq!(text("train"), "{ clip = 1 }");
    let inherited = ["model", "train", "train.clip", "train.epochs", "train.steps", "train.betas[1]"]
        .map(|path| spans.is_inherited(path));
    assert_eq!(inherited, [false, false, false, true, true, true]);
    assert!(spans.own().get("train.epochs").is_none());
}

#[test]
fn computed_values_follow_what_a_plan_says() {
    let text = r#"
let samples = 64
profile batch { train { micro_batch = 4; accumulate = samples / micro_batch } }
plan "as it is" extends batch { model = "m" }
plan "smaller"  extends batch { model = "m"; train { micro_batch = 2 } }
plan "chosen"   extends batch { model = "m"; train { micro_batch = fit [8, 4] } }
plan "far"      { model = "m"; data { context = 4ktok }; train { steps = data.context / 1000tok * 3; packing_hint = 1 } }
"#;
    let document = read_text("a.mem", text.replace("; packing_hint = 1", ""));
    assert_eq!(document.problems, []);
    let accumulate: Vec<_> =
        document.plans[..3].iter().map(|one| one.plan.train.clone().unwrap().accumulate.unwrap()).collect();
    assert_eq!(accumulate[..2], [Choice::One(16), Choice::One(32)]);
    let Choice::Computed(from) = &accumulate[2] else { panic!("{accumulate:?}") };
    assert_eq!(from.to_string(), "64 / train.micro_batch");
    assert_eq!(document.plans[3].plan.train.as_ref().unwrap().steps, Some(Choice::One(12.into())));
    // the choice is made: the value is there
    let mut plan = document.plans[2].plan.clone();
    plan.settle().unwrap();
    assert_eq!(plan.train.as_ref().unwrap().accumulate, accumulate[2].clone().into());
    plan.set("train.micro_batch", "8").unwrap();
    plan.settle().unwrap();
    assert_eq!(plan.train.unwrap().accumulate, Some(8.into()));
}

#[test]
fn expressions_know_precedence_and_units() {
    let value = |expression: &str| {
        let document = read_text("a.mem", format!("plan \"p\" {{ model = \"m\"; train {{ epochs = {expression} }} }}"));
        assert_eq!(document.problems, [], "{expression}");
        document.plans[0].plan.train.clone().unwrap().epochs.unwrap().one().copied().unwrap()
    };
    for (expression, expected) in [
        ("1 + 2 * 3", 7.0),
        ("(1 + 2) * 3", 9.0),
        ("10 - 3 - 2", 5.0),
        ("16 / 4 / 2", 2.0),
        ("-2 * -3", 6.0),
        ("8GiB / 2GiB", 4.0),
        ("90min / 1h", 1.5),
        ("max(1, 2, min(7, 5))", 5.0),
        ("ceil(7 / 2)", 4.0),
        ("2ktok / 500tok", 4.0),
        ("env(\"MEMSPEC_TEST_NO_SUCH_VARIABLE\", 3) + 1", 4.0),
    ] {
        assert_eq!(value(expression), expected, "{expression}");
    }
    let set = env!("CARGO_PKG_NAME");
    let document = read_text("a.mem", "plan \"p\" { model = env(\"CARGO_PKG_NAME\") }");
    assert_eq!(document.plans[0].plan.model, Some(set.into()));
}

#[test]
fn conditions_are_kept_and_written_as_they_bind() {
    for condition in [
        "device_memory <= 14.5GiB",
        "train.micro_batch * train.accumulate == 64 and not adapter.kind == dora",
        "not (wall_clock <= 6h and cost <= 12usd) or headroom >= 1GiB",
        "(train.micro_batch + 1) * 2 - (3 - train.accumulate) > -1",
        "tokens_per_step >= 16384tok",
        "headroom >= 5% and 10% < headroom",
        "host_memory <= 30GiB or disk < 1GiB",
        "model == \"m\" or device != \"t4\"",
        "max(train.micro_batch, 2) < 8",
    ] {
        let text = format!(
            "plan \"p\" {{\n  model = \"m\"\n  device = t4\n  adapter lora {{ }}\n  assert {condition} else \"no\"\n}}\n"
        );
        let document = read_text("a.mem", text);
        assert_eq!(document.problems, [], "{condition}");
        let plan = &document.plans[0].plan;
        assert_eq!(plan.asserts[0].that.to_string(), condition);
        assert_eq!(read_text("b.mem", write(plan)).plans[0].plan, *plan);
    }
}

#[test]
fn one_file_may_be_imported_by_two_ways() {
    let diamond = [
        (
            "a.mem",
            "import \"lib/b.mem\" as b\nimport \"lib/c.mem\"\nplan \"x\" extends b.left, right { model = name }\n",
        ),
        ("lib/b.mem", "import \"../d.mem\"\nprofile left extends bottom { train { epochs = 2 } }\n"),
        (
            "lib/c.mem",
            "import \"../d.mem\" as d\nlet name = \"org/\" \nprofile right extends d.bottom { train { clip = 1 } }\n",
        ),
        ("d.mem", "profile bottom { train { learning_rate = 3e-4 }\n assert train.epochs <= 3 }\n"),
    ];
    let plans = plans(&diamond);
    let train = plans[0].train.clone().unwrap();
    assert_eq!(
        (train.epochs, train.clip, train.learning_rate),
        (Some(2.0.into()), Some(1.0.into()), Some(3e-4.into()))
    );
    assert_eq!(plans[0].asserts.len(), 1);
}

#[test]
fn lists_from_elsewhere_are_values_too() {
    let plans = plans(&[
        (
            "a.mem",
            "import \"b.mem\" as b\nplan \"x\" { model = \"m\"; adapter lora { targets = b.linears }; train { precision = b.type } }\n",
        ),
        ("b.mem", "let linears = [\"q_proj\", \"v_proj\"]\nlet type = bf16\n"),
    ]);
    insta::assert_snapshot!(write(&plans[0]));
}

#[test]
fn parents_may_say_the_same() {
    let plans = plans(&[(
        "a.mem",
        "profile p { train { epochs = 2 } }\nprofile q { train { epochs = 1 + 1 } }\nplan \"x\" extends p, q { model = \"m\" }\n",
    )]);
    assert_eq!(plans[0].train.clone().unwrap().epochs, Some(2.0.into()));
}

#[test]
fn links_do_not_leave_the_project() {
    let (folder, _) = files(&[("project/a.mem", "import \"b.mem\"\n"), ("secret.mem", "let x = 1\n")]);
    let inside = folder.path().join("project");
    fs::write(inside.join("memspec.toml"), "").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret.mem"), inside.join("b.mem")).unwrap();
    let document = read(inside.join("a.mem"));
    let [problem] = document.problems.as_slice() else { panic!("{:?}", document.problems) };
    assert_eq!((problem.code, problem.message.as_str()), ("bad-import", "`b.mem` lies outside of the project"));
}

#[test]
fn a_long_line_of_profiles_is_no_stack_overflow() {
    let mut text = String::from("profile p0 { train { epochs = 2 } }\n");
    for n in 1..2000 {
        text += &format!("profile p{n} extends p{} {{ }}\n", n - 1);
    }
    // from the last to the first, none of them known before
    let backwards: String = text.lines().rev().map(|line| format!("{line}\n")).collect();
    for text in [text, backwards] {
        let document = read_text("a.mem", format!("{text}plan \"x\" extends p1999 {{ model = \"m\" }}\n"));
        assert!(document.problems.iter().all(|problem| problem.code == "circular"), "{:?}", document.problems);
    }
}
