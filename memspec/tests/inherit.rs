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

/// The mistakes of the first file: code, place, message, and what it points at.
fn told(list: &[(&str, &str)]) -> String {
    let (folder, document) = files(list);
    let text = &document.source.text;
    let mut told = String::new();
    for problem in &document.problems {
        let (line, column) = document.source.position(problem.span.start);
        told +=
            &format!("{} at {line}:{column} {:?}\n  {}\n", problem.code, &text[problem.span.clone()], problem.message);
        for (span, label) in &problem.related {
            told +=
                &format!("  {:?} on line {}: {label}\n", &text[span.clone()], document.source.position(span.start).0);
        }
        told += &problem.help.iter().map(|help| format!("  help: {help}\n")).collect::<String>();
    }
    let real = folder.path().canonicalize().unwrap();
    told.replace(&real.display().to_string(), "/project").replace(&folder.path().display().to_string(), "/project")
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

macro_rules! mistakes {
    ($($name:ident: $files:expr;)+) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!(told(&$files));
        }
    )+};
}

const PLAN: &str = "plan \"x\" extends p { model = \"m\" }\n";

mistakes! {
    import_of_nothing: [("a.mem", "import \"bse.mem\" as base\nplan \"x\" extends base.p { model = \"m\" }\n"), ("base.mem", "profile p { }\n")];
    import_of_another_kind: [("a.mem", "import \"b.yaml\"\n")];
    import_from_outside: [("a.mem", "import \"../../b.mem\"\nimport \"/etc/b.mem\"\n")];
    import_of_itself: [("a.mem", "import \"a.mem\"\n")];
    import_in_a_circle: [("a.mem", "import \"b.mem\"\n"), ("b.mem", "import \"c.mem\"\n"), ("c.mem", "import \"a.mem\"\n")];
    import_with_mistakes: [("a.mem", &format!("import \"b.mem\"\n{PLAN}")), ("b.mem", "profile p {\n  train { micro_batch = 2.5; epoch = 1 }\n}\n")];
    import_of_a_folder: [("a.mem", "import \"b.mem\"\n"), ("b.mem/c.mem", "")];
    profile_unknown: [("a.mem", "profile small { }\nplan \"x\" extends smal { model = \"m\" }\n")];
    profile_unknown_in_a_file: [("a.mem", "import \"b.mem\" as b\nplan \"x\" extends b.q, c.p { model = \"m\" }\n"), ("b.mem", "profile p { }\n")];
    profile_that_is_a_plan: [("a.mem", "plan \"y\" { model = \"m\" }\nplan \"x\" extends y { model = \"m\" }\n")];
    profile_of_itself: [("a.mem", &format!("profile p extends p {{ }}\n{PLAN}"))];
    profiles_in_a_circle: [("a.mem", &format!("profile p extends q {{ }}\nprofile q extends r {{ }}\nprofile r extends p {{ }}\n{PLAN}"))];
    profile_twice: [("a.mem", &format!("profile p {{ }}\nprofile p {{ train {{ epochs = 2 }} }}\n{PLAN}"))];
    profile_with_a_mistake: [("a.mem", &format!("profile p {{ train {{ micro_batch = 2.5 }} }}\n{PLAN}{}", PLAN.replace('x', "y").replace("eytends", "extends")))];
    parents_disagree: [("a.mem", "profile p { train { epochs = 2 } }\nprofile q { train { epochs = 3 } }\nplan \"x\" extends p, q { model = \"m\" }\nplan \"y\" extends p, q { model = \"m\"; train { epochs = 4 } }\n")];
    parents_disagree_elsewhere: [("a.mem", "import \"b.mem\" as b\nprofile p { adapter lora { rank = 2 } }\nplan \"x\" extends p, b.q { model = \"m\" }\n"), ("b.mem", "profile q { adapter dora { rank = 2 } }\n")];
    parents_agree: [("a.mem", "profile p { train { epochs = 2 } }\nprofile q { train { epochs = 1 + 1 } }\nplan \"x\" extends p, q { model = \"m\" }\n")];
    value_from_elsewhere_unknown: [("a.mem", "import \"b.mem\" as b\nplan \"x\" { model = \"m\"; train { epochs = b.epoch } }\n"), ("b.mem", "let epochs = 3\n")];
    names_imported_twice: [("a.mem", "import \"b.mem\"\nlet epochs = 4\nplan \"x\" { model = \"m\"; train { epochs = epochs } }\n"), ("b.mem", "let epochs = 3\n")];
    computed_from_itself: [("a.mem", "plan \"x\" { model = \"m\"; train { epochs = epochs + 1 } }\n")];
    computed_in_a_circle: [("a.mem", "plan \"x\" {\n  model = \"m\"\n  train {\n    micro_batch = 64 / accumulate\n    accumulate = 64 / micro_batch\n  }\n}\n")];
    computed_of_another_unit: [("a.mem", "plan \"x\" { model = \"m\"; data { context = fit [2ktok, 1ktok] }; train { accumulate = data.context * 2 } }\n")];
    computed_from_nothing: [("a.mem", "plan \"x\" { model = \"m\"; train { micro_batch = eval.micro_batch } }\n")];
    computed_is_no_value: [("a.mem", "profile p { train { accumulate = 64 / micro_batch } }\nplan \"x\" extends p { model = \"m\"; train { micro_batch = 3 } }\n")];
    list_follows_a_choice: [("a.mem", "plan \"x\" { model = \"m\"; train { micro_batch = fit [2, 1]; accumulate = sweep [1, 4 / micro_batch] } }\n")];
    limit_of_another_unit: [("a.mem", "plan \"x\" { model = \"m\"; budget { device_memory <= 6h } }\n")];
    assert_compares_units: [("a.mem", "plan \"x\" { model = \"m\"; assert device_memory <= 6h }\n")];
    assert_without_a_condition: [("a.mem", "plan \"x\" {\n  model = \"m\"\n  assert device_memory\n  assert else \"no\"\n  assert 1 <= 2 else no\n}\n")];
    assert_of_an_unknown_figure: [("a.mem", "plan \"x\" {\n  model = \"m\"\n  assert device_memry <= 6GiB\n  assert micro_batch <= 2\n}\n")];
    assert_joins_no_conditions: [("a.mem", "plan \"x\" { model = \"m\"; assert 1 and wall_clock <= 6h }\n")];
    variable_not_set: [("a.mem", "plan \"x\" { model = env(\"MEMSPEC_TEST_NO_SUCH_VARIABLE\"); seed = env(SEED) }\n")];
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
