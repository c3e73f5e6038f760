//! The `.mem` language as its users meet it: good plans are read whole, and whatever else is written gets a tree.
#![cfg(feature = "lang")]

mod laws;
mod nearly;

use std::time::Instant;

use laws::read as check;
use memspec::lang::{lex, parse, write};
use memspec::plan::{Choice, Comparison, Headroom, Limit, Targets, Warmup, read_text};
use memspec::quantity::{Bytes, Percent, Seconds, Tokens};
use nearly::{file, nearly};
use proptest::prelude::*;

const GOOD: &str = include_str!("fixtures/good.mem");

#[test]
fn a_good_plan_is_read_whole() {
    let document = read_text("good.mem", GOOD);
    assert_eq!(document.problems, []);
    let written = &document.plans[0];
    let plan = written.plan.clone();
    assert_eq!(plan.name, "llama3-8b-qlora-t4");
    let adapter = plan.adapter.unwrap();
    assert_eq!(adapter.alpha, Some(32.0.into()));
    assert_eq!(adapter.dropout, Some(Percent(5.0).into()));
    assert_eq!(adapter.targets, Some(Targets::Modules(vec!["q_proj".into(), "v_proj".into()]).into()));
    assert_eq!(plan.data.unwrap().context, Some(Tokens(2048).into()));
    let train = plan.train.unwrap();
    assert_eq!(train.micro_batch, Some(Choice::Fit(vec![8, 4, 2, 1])));
    assert_eq!(train.learning_rate, Some(Choice::Sweep(vec![1e-4, 2e-4])));
    assert_eq!(train.accumulate, Some(4.into()));
    assert_eq!(train.warmup, Some(Warmup::Steps(100).into()));
    let budget = plan.budget.unwrap();
    assert_eq!(budget.device_memory, Some("14.5GiB".parse::<Bytes>().unwrap().into()));
    assert_eq!(budget.wall_clock, Some(Seconds(21600.0).into()));
    let headroom = Headroom::Bytes(Bytes(1 << 30));
    assert_eq!(budget.headroom, Some(Limit { comparison: Comparison::AtLeast, value: headroom }));
    // places
    let text = |path: &str| &GOOD[written.spans.get(path).unwrap().value.clone()];
    assert_eq!(text("train.micro_batch"), "fit [8, 4, 2, 1]");
    assert_eq!(text("train.micro_batch[1]"), "4");
    assert_eq!(text("adapter.kind"), "lora");
    assert_eq!(text("name"), "\"llama3-8b-qlora-t4\"");
    assert_eq!(text("quantize"), "{ double = true; block = 64 }");
    assert_eq!(text("budget.device_memory"), "16GiB - 1.5GiB");
    assert_eq!(written.spans.at(GOOD.find("adamw_8bit").unwrap()), Some("train.optimizer"));
    // comments that allow
    let [allow] = document.allows.as_slice() else { panic!("{:?}", document.allows) };
    assert_eq!(
        allow.names.iter().map(|(name, span)| (name.as_str(), &GOOD[span.clone()])).collect::<Vec<_>>(),
        [("thin-headroom", "thin-headroom"), ("spec-004", "spec-004")]
    );
    assert_eq!((allow.reason.as_str(), allow.file), ("measured on this machine", false));
    let start = GOOD.find("plan \"").unwrap();
    assert_eq!(parse(GOOD).docs(GOOD, start).as_deref(), Some("The plan of the guide."));
}

#[test]
fn devices_are_words_or_quoted() {
    for (written, name) in
        [("cpu", "cpu"), ("cuda:0", "cuda:0"), ("\"cuda:0\"", "cuda:0"), ("t4", "t4"), ("\"a100-80\"", "a100-80")]
    {
        let document = read_text("d.mem", format!("plan \"a\" {{\n model = \"m\"\n device = {written}\n}}\n"));
        assert_eq!(document.problems, [], "{written}");
        assert_eq!(document.plans[0].plan.device, Some(name.into()));
    }
}

#[test]
fn arithmetic_uses_lets_and_settings_above_it() {
    let document = read_text(
        "a.mem",
        "let a = 3\nplan \"p\" {\n model = \"m\"\n let b = (a + 1) * 4\n train { micro_batch = 2; accumulate = ceil(b / micro_batch) }\n}\n",
    );
    assert_eq!(document.problems, []);
    assert_eq!(document.plans[0].plan.train.as_ref().and_then(|train| train.accumulate.clone()), Some(8.into()));
}

#[test]
fn every_prefix_and_every_missing_token_is_read() {
    for (end, _) in GOOD.char_indices() {
        check(&GOOD[..end]);
        let errors = parse(&GOOD[..end]).errors;
        assert!(errors.len() <= 2, "a cut is one mistake: {:?} gives {errors:#?}", &GOOD[..end]);
    }
    for token in lex(GOOD) {
        let mut text = GOOD.to_owned();
        text.replace_range(token.span.clone(), "");
        check(&text);
        let errors = parse(&text).errors;
        assert!(errors.len() <= 3, "without {:?} at {:?}: {errors:#?}", &GOOD[token.span.clone()], token.span);
    }
}

#[test]
fn nesting_is_bounded_and_time_is_linear() {
    let many = 100_000;
    let bombs = [
        "[".repeat(many),
        "x = [".repeat(many),
        "x = (".repeat(many),
        "a {".repeat(many),
        "a {\n".repeat(many),
        "plan \"x\" {\n".repeat(many),
        format!("x = {}1", "- ".repeat(many)),
        format!("x = {}1", "not ".repeat(many)),
        format!("x = 1{}", " + 1".repeat(many)),
        format!("x = {}", "max(".repeat(many)),
        format!("x = {}", "fit [".repeat(many)),
        "}".repeat(many),
        "@ ".repeat(many),
        "\n".repeat(many) + "a {\n",
        "x\n".repeat(many),
        "train {\n".repeat(many),
        "\"".repeat(many),
    ];
    for bomb in bombs {
        for text in [format!("plan \"p\" {{\n{bomb}"), format!("plan \"p\" {{\ntrain {{\n{bomb}"), bomb] {
            let start = Instant::now();
            let errors = parse(&text).errors;
            check(&text);
            assert!(!errors.is_empty() || text.contains("+ 1"), "{}", &text[..30]);
            // a quadratic parser would take many minutes; a busy machine takes some seconds
            assert!(start.elapsed().as_secs() < 100, "{} took {:?}", &text[..30], start.elapsed());
        }
    }
    let deep = format!("plan \"p\" {{\n model = \"m\"\n data {{ path = {}1{} }}\n}}", "(".repeat(80), ")".repeat(80));
    let messages: Vec<_> = parse(&deep).errors.into_iter().map(|error| error.message).collect();
    assert_eq!(messages, ["more than 64 levels deep"]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read(text in any::<String>()) {
        check(&text);
    }

    #[test]
    fn nearly_a_plan_is_read(text in nearly()) {
        check(&text);
        check(&format!("plan \"p\" {{\n{text}"));
    }

    #[test]
    fn a_plan_is_the_same_written_out(text in file()) {
        check(&text);
        for written in read_text("a.mem", text.as_str()).plans {
            let alone = read_text("b.mem", write(&written.plan));
            prop_assert!(alone.problems.iter().all(|problem| problem.code == "missing-model"), "{:?} of {text}", alone.problems);
            prop_assert_eq!(&alone.plans[0].plan, &written.plan, "of {}", text);
            #[cfg(feature = "yaml")]
            {
                let yaml = read_text("c.json", serde_json::to_string(&written.plan).unwrap());
                prop_assert_eq!(&yaml.plans[0].plan, &written.plan, "of {}", text);
            }
        }
    }
}
