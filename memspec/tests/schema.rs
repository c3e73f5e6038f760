//! A plan in YAML or JSON is judged by three: serde, the schema that editors use, and the reader that says what is wrong. They agree.
#![cfg(all(feature = "lang", feature = "yaml", feature = "schema"))]

use std::path::Path;
use std::sync::LazyLock;

use jsonschema::Validator;
use memspec::plan::{Block, Plan, Setting, generate, read, read_text};
use memspec::quantity::Quantity;
use proptest::prelude::*;
use serde_json::{Value, json};

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| jsonschema::validator_for(&generate::schema()).unwrap());

/// What serde, the schema and the reader say of a plan: whether they take it.
fn verdicts(plan: &Value) -> [bool; 3] {
    // A value that follows from none, as in `{"compute": "1"}`, is the reader's at once, and serde's when the plan is settled.
    let settled = |mut plan: Plan| plan.settle().is_ok().then_some(plan);
    let serde = serde_json::from_value::<Plan>(plan.clone()).ok().and_then(settled);
    let document = read_text("a.json", plan.to_string());
    let read = document.problems.is_empty();
    if let (Some(serde), true) = (&serde, read) {
        assert_eq!(serde, &document.plans[0].plan, "{plan}");
    }
    [serde.is_some(), SCHEMA.is_valid(plan), read]
}

/// Whether they take it, all or none of them. A pattern cannot count: a text that is a quantity, but too small, too large or not whole, is
/// left to the other two.
fn agree(plan: &Value) -> bool {
    let verdicts = verdicts(plan);
    if verdicts == [false, true, false] && has_quantity(plan) {
        return false;
    }
    let told = || {
        let serde = serde_json::from_value::<Plan>(plan.clone()).map_err(|error| error.to_string()).err();
        let schema: Vec<_> = SCHEMA.iter_errors(plan).map(|error| error.to_string()).collect();
        let read: Vec<_> = read_text("a.json", plan.to_string()).problems.into_iter().map(|p| p.message).collect();
        format!("{plan}\nserde: {serde:?}\nschema: {schema:#?}\nreader: {read:#?}")
    };
    assert!(verdicts == [verdicts[0]; 3], "{}", told());
    verdicts[0]
}

fn has_quantity(value: &Value) -> bool {
    match value {
        Value::String(text) => text.trim_start_matches(['<', '>', '=', ' ']).parse::<Quantity>().is_ok(),
        Value::Array(values) => values.iter().any(has_quantity),
        Value::Object(values) => values.values().any(has_quantity),
        _ => false,
    }
}

/// A plan with that value for a setting of a block.
fn with(block: &Block, setting: &str, value: Value) -> Value {
    let mut plan = json!({"name": "a", "model": "m"});
    if block.name == Plan::SPEC.name {
        plan[setting] = value;
    } else {
        plan[block.name] = json!({setting: value});
        if let Some(kind) = block.kinds.first() {
            plan[block.name]["kind"] = kind.name.into();
        }
    }
    plan
}

fn settings() -> impl Iterator<Item = (&'static Block, &'static Setting)> {
    let blocks = std::iter::once(Plan::SPEC).chain(Plan::blocks().iter().copied());
    blocks.flat_map(|block| block.settings.iter().map(move |setting| (block, setting)))
}

/// Values of every kind that JSON has, and texts that are nearly quantities.
fn values() -> Vec<Value> {
    let mut values = vec![
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(-0.0),
        json!(16.0),
        json!(2.5),
        json!(1e-9),
        json!(4294967295u64),
        json!(4294967296u64),
        json!(9007199254740991u64),
        json!(9007199254740993u64),
        json!(u64::MAX),
        json!(1e300),
        json!([]),
        json!([1]),
        json!([0.9, 0.99]),
        json!([0.9, -0.99]),
        json!([1, 2, 3]),
        json!(["q_proj", "v_proj"]),
        json!(["q_proj", 7]),
        json!([["q_proj"]]),
        json!({}),
        json!({"fit": []}),
        json!({"fit": [], "sweep": []}),
        json!({"fit": [1], "sweep": [1]}),
        json!({"fit": 1}),
        json!({"fitt": [1]}),
        json!({"kind": "lora"}),
    ];
    let texts = [
        "",
        " ",
        "1",
        "0",
        "16",
        "1_000",
        "1__0",
        "_1",
        "-1",
        "-0",
        "+1",
        ".5",
        "5.",
        "1.5",
        "1e3",
        "1e-3",
        "1e",
        "0x10",
        "true",
        "false",
        "yes",
        "auto",
        "none",
        "bf16",
        "adamw",
        "all_linear",
        "größe 模型 🦙",
        "two words",
        "4 GiB",
        " 4GiB ",
        "4\tGiB",
        "4\u{a0}GiB",
        "4GiB\n",
        "4gib",
        "4 G iB",
        "4_GiB",
        "4.5_0GiB",
        "1e3MB",
        "8B",
        "3%",
        "3 %",
        "0%",
        "300%",
        "-3%",
        "0.0",
        "12usd",
        "12.5usd",
        "1e1usd",
        "$12",
        "6h",
        "90 min",
        "1.5d",
        "20ms",
        "2048tok",
        "2ktok",
        "1Mtok",
        "500step",
        "3epoch",
        "1344x896",
        "0x896",
        "+5x3",
        "1344 x 896",
        "00010x7",
        "99999999999x2",
        "<= 4GiB",
        "<4GiB",
        ">=   5%",
        "== 4GiB",
        "=< 4GiB",
        "<= -4GiB",
        "<= 6h",
        "< 12usd",
        "<=",
        "<= <= 4GiB",
        "NaN",
        "inf",
    ];
    values.extend(texts.map(Value::from));
    values
}

#[test]
fn every_setting_takes_the_same_values_wherever_it_is_asked() {
    for (block, setting) in settings() {
        let mut taken = 0;
        for value in values() {
            taken += usize::from(agree(&with(block, setting.name, value.clone())));
            for choice in ["fit", "sweep"] {
                agree(&with(block, setting.name, json!({ choice: [value] })));
            }
        }
        for symbol in setting.kind.symbols() {
            assert!(agree(&with(block, setting.name, symbol.name.into())), "{}", symbol.name);
            taken += 1;
        }
        assert!(taken > 0, "{} takes none of them", setting.name);
    }
}

#[test]
fn every_block_takes_the_same_wherever_it_is_asked() {
    for block in Plan::blocks() {
        for value in values() {
            agree(&json!({"name": "a", "model": "m", block.name: value}));
            agree(&json!({"name": "a", "model": "m", block.name: {"kind": value}}));
            agree(&json!({"name": "a", "model": "m", block.name: {"nothing": value}}));
        }
        for kind in block.kinds {
            assert!(agree(&json!({"name": "a", "model": "m", block.name: {"kind": kind.name}})));
        }
    }
    for value in values() {
        agree(&json!({"name": "a", "model": "m", "nothing": value}));
        agree(&json!({"name": value, "model": "m"}));
    }
    assert!(!agree(&json!({"model": "m"})));
}

/// A text's arithmetic is beyond a pattern: serde and the reader refuse these, the schema does not.
#[test]
fn what_a_schema_cannot_say() {
    let refused = [
        json!({"data": {"context": "2.5tok"}}),
        json!({"data": {"context": "0tok"}}),
        json!({"train": {"steps": "0step"}}),
        json!({"train": {"warmup": "0.5"}}),
        json!({"budget": {"device_memory": "<= 1e300GiB"}}),
        json!({"budget": {"wall_clock": "1e999h"}}),
    ];
    for rest in refused {
        let mut plan = json!({"name": "a", "model": "m"});
        plan.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        assert_eq!(verdicts(&plan), [false, true, false], "{plan}");
    }
}

/// The plans of the repository, as JSON.
fn plans() -> Vec<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut plans = Vec::new();
    for folder in ["../examples", "../benches/cpu", "benches", "tests/fixtures", "../memspec-lint/tests/fixtures/oom"] {
        let Ok(files) = std::fs::read_dir(here.join(folder)) else { continue };
        for path in files.map(|file| file.unwrap().path()) {
            if path.extension().is_some_and(|extension| extension == "mem" || extension == "yaml") {
                let document = read(&path);
                plans.extend(document.plans.iter().map(|written| serde_json::to_value(&written.plan).unwrap()));
            }
        }
    }
    plans
}

#[test]
fn every_plan_of_the_repository_is_one_for_all_of_them() {
    let plans = plans();
    assert!(!plans.is_empty());
    for plan in &plans {
        assert!(agree(plan), "{plan}");
    }
    let several = json!({"plans": plans});
    assert!(SCHEMA.is_valid(&several));
    assert_eq!(read_text("a.json", several.to_string()).plans.len(), plans.len());
    assert!(!SCHEMA.is_valid(&json!({"plans": plans, "seed": 1})));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Several changes at once, each to any part of a plan.
    #[test]
    fn changed_plans_are_judged_alike(
        plan in prop::sample::select(plans()),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(values()), 0..4u8), 1..4),
    ) {
        let mut plan = plan;
        for (place, value, how) in changes {
            change(&mut plan, place, value, how);
        }
        // without a model the reader misses it, and the others, which know parts of plans too, do not
        if plan.get("model").is_some() {
            agree(&plan);
        }
    }

    #[test]
    fn texts_are_judged_alike(
        (block, setting) in prop::sample::select(settings().collect::<Vec<_>>()),
        text in "(<=|>|)? ?[0-9_]{0,4}(\\.[0-9]{0,2})?(e-?[0-9])? ?(GiB|MB|tok|step|%|h|min|usd|x3|K)?",
    ) {
        agree(&with(block, setting.name, text.into()));
    }
}

/// Puts a value in the place of another, beside it under a name that is not known, around it, or takes it away.
fn change(plan: &mut Value, place: prop::sample::Index, value: Value, how: u8) {
    let mut paths = Vec::new();
    collect(plan, String::new(), &mut paths);
    let path = place.get(&paths).clone();
    let (outer, name) = path.rsplit_once('/').unwrap();
    match how {
        0 => *plan.pointer_mut(&path).unwrap() = value,
        1 => {
            let inner = plan.pointer_mut(&path).unwrap();
            *inner = json!({"fit": [inner.take(), value]});
        }
        _ => {
            if let Some(object) = plan.pointer_mut(outer).and_then(Value::as_object_mut) {
                if how == 2 {
                    object.insert(format!("{name}x"), value)
                } else {
                    object.remove(name)
                };
            }
        }
    }
}

fn collect(value: &Value, path: String, paths: &mut Vec<String>) {
    if let Some(object) = value.as_object() {
        for (key, inner) in object {
            let path = format!("{path}/{key}");
            paths.push(path.clone());
            collect(inner, path, paths);
        }
    }
}
