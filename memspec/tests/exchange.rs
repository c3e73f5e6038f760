//! Plans as YAML and JSON: the same plan, the same checks, and the generated files.

#[cfg(all(feature = "lang", feature = "yaml"))]
mod laws;

use memspec::plan::{Document, read_text};

#[cfg(all(feature = "lang", feature = "yaml"))]
#[test]
fn yaml_and_json_are_the_same_plan() {
    let mem = read_text("good.mem", include_str!("fixtures/good.mem"));
    let text = include_str!("fixtures/good.yaml");
    let yaml = read_text("good.yaml", text);
    assert_eq!(yaml.problems, []);
    assert_eq!(yaml.plans[0].plan, mem.plans[0].plan);
    let spans = &yaml.plans[0].spans;
    let at = |path: &str| &text[spans.get(path).unwrap_or_else(|| panic!("{path}")).value.clone()];
    assert_eq!(at("train.micro_batch"), "{fit: [8, 4, 2, 1]}");
    assert_eq!(at("adapter.kind"), "lora");
    assert_eq!(at("adapter.targets[1]"), "v_proj");
    assert_eq!(at("quantize.block"), "64");
    assert_eq!(at("budget.wall_clock"), "\"<= 6h\"");
    assert_eq!(at("save"), "{every: 500}");
    // JSON as serde writes it, alone and in a list
    let json = serde_json::to_string_pretty(&mem.plans[0].plan).unwrap();
    let alone = read_text("good.json", json.clone());
    assert_eq!((alone.problems, &alone.plans[0].plan), (vec![], &mem.plans[0].plan));
    let several = read_text("several.json", format!("{{\"plans\": [{json}, {json}]}}"));
    assert_eq!((several.problems, several.plans.len()), (vec![], 2));
    assert_eq!(serde_json::from_str::<memspec::plan::Plan>(&json).unwrap(), mem.plans[0].plan);
}

#[cfg(feature = "yaml")]
fn told(document: &Document) -> String {
    document
        .problems
        .iter()
        .map(|p| {
            let (line, column) = document.source.position(p.span.start);
            let at = &document.source.text[p.span.clone()];
            let fix = p.fix.as_ref().map(|fix| format!(" | fix: {:?}", fix.text)).unwrap_or_default();
            format!("{line}:{column} {}: {} | {} | {at:?}{fix}\n", p.code, p.message, p.help.as_deref().unwrap_or("-"))
        })
        .collect()
}

#[cfg(feature = "yaml")]
#[test]
fn mistakes_in_yaml_are_told_like_those_in_mem() {
    let yaml = "name: a\nmodel: m\nadapter:\n  kind: lroa\n  rnak: 16\n  dropout: 0.05\ntrain:\n  precision: 'bf61'\n  micro_batch: [8, 4]\n  warmup: 6h\n\
        data: {context: 2048tk, packing: \"yes\"}\nsave: often\nbudget:\n  device_memory: 14.5\n  wall_clock: \"== 6h\"\nflavour: sweet\n";
    insta::assert_snapshot!(told(&read_text("a.yaml", yaml)));
    let json = r#"{"plans": [{"name": "a", "model": "m", "train": {"optimiser": "adam", "precision": "bf61"}}, {"model": 7}], "seed": 1}"#;
    insta::assert_snapshot!(told(&read_text("a.json", json)));
    insta::assert_snapshot!(told(&read_text("a.yml", "name: a\n  model: [\n")));
}

#[cfg(feature = "yaml")]
#[test]
fn a_text_that_grows_when_it_is_read_is_refused() {
    let codes = |text: String| read_text("a.yaml", text).problems.iter().map(|p| p.code).collect::<Vec<_>>();
    // each alias holds ten of the one before it, or a thousand
    let lines = |times: usize, lines: usize| {
        let refer = |n: usize| vec![format!("*a{n}"); times].join(", ");
        let first = format!("a0: &a0 [{}]\n", vec!["x"; times].join(", "));
        (1..lines).fold(first, |text, n| format!("{text}a{n}: &a{n} [{}]\n", refer(n - 1)))
    };
    for text in [lines(10, 9), lines(1000, 3), "x".repeat(5 << 20), format!("[{}]", "x,".repeat(1 << 19))] {
        assert!(told(&read_text("a.yaml", text)).contains("a plan has at most"));
    }
    // JSON has no aliases, but may be as long and as deep
    let json = |text: String| told(&read_text("a.json", text));
    assert!(json(format!("{{\"name\": [{}1]}}", "1, ".repeat(1 << 18))).contains("a plan has at most 262144 values"));
    assert!(json(format!("{{\"name\": \"{}\"}}", "x".repeat(5 << 20))).contains("a plan has at most 4 MiB"));
    for deep in ["[", "{\"a\":", "[{\"a\":"] {
        assert!(json(deep.repeat(100_000)).contains("syntax"), "{deep}");
    }
    let few = "base: &base {rank: 8}\n".to_owned() + "name: a\nmodel: m\nadapter: {kind: lora, <<: *base}\n";
    assert_eq!(codes(few), ["unknown-block"], "anchors and merges are read");
}

#[cfg(feature = "yaml")]
#[test]
fn a_file_of_100_megabytes_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "a.json"] {
        let path = folder.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(100_000_000).unwrap();
        let start = std::time::Instant::now();
        let document = memspec::plan::read(&path);
        assert_eq!(document.problems[0].message, "a plan has at most 4 MiB, and this text is longer");
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }
}

#[cfg(all(feature = "lang", feature = "yaml"))]
#[test]
fn any_yaml_is_read_without_panic() {
    use proptest::prelude::*;
    let parts = vec![
        "name",
        ": ",
        ":",
        "\n",
        "  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "\"",
        "'",
        "#",
        " # c",
        "train",
        "micro_batch",
        "fit",
        "16",
        "é",
        "|\n",
        "---\n",
        "plans",
        "model",
        "budget",
        "device_memory",
        "14.5GiB",
        "&a ",
        "*a",
        "<<",
        "!t ",
    ];
    let texts = prop::collection::vec(prop::sample::select(parts), 0..40).prop_map(|parts| parts.concat());
    let mut runner = proptest::test_runner::TestRunner::default();
    runner
        .run(&texts, |text| {
            laws::yaml(&text);
            Ok(())
        })
        .unwrap();
}

/// The generated file is what the table gives; with MEMSPEC_UPDATE=1 it is written.
#[cfg(feature = "schema")]
fn fresh(path: &str, generated: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    // outside of the workspace (a packed crate) there is nothing to compare
    if !path.parent().is_some_and(std::path::Path::exists) {
        return;
    }
    if std::env::var_os("MEMSPEC_UPDATE").is_some() {
        std::fs::write(&path, generated).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == generated, "{} is stale: run `cargo run -p memspec --example generate`", path.display());
}

#[cfg(feature = "schema")]
#[test]
fn generated_files_are_fresh() {
    let schema = serde_json::to_string_pretty(&memspec::plan::generate::schema()).unwrap();
    fresh("schemas/plan.schema.json", &(schema + "\n"));
    fresh("docs/settings.md", &memspec::plan::generate::settings_page());
}
