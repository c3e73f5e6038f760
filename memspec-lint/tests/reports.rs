//! What people and programs see: reports, estimates, the generated pages and schemas.

mod common;

use common::{check, folder, fresh, with};
use memspec_lint::output::{Style, estimate, json, report};
use memspec_lint::{accuracy, config, diagnose, registry};

/// The reports of a fragment put into the clean plan.
fn reports(fragment: &str) -> String {
    let folder = folder();
    let (document, findings) = check(folder.path(), &with(fragment));
    report::render_all(&document.source, &findings, Style::PLAIN)
}

#[test]
fn a_plan_that_does_not_fit_shows_where_its_memory_goes() {
    insta::assert_snapshot!(reports(
        "data { context = 1024tok }\ntrain {\n  micro_batch = 8\n  optimizer   = adamw\n}\nbudget { device_memory <= 2GiB }"
    ));
}

#[test]
fn a_plan_that_needs_more_than_one_change() {
    insta::assert_snapshot!(reports(
        "data { context = 2048tok }\ntrain { micro_batch = 4 }\nbudget { device_memory <= 800MiB }"
    ));
}

#[test]
fn a_plan_that_no_change_makes_fit() {
    insta::assert_snapshot!(reports("model = \"meta-llama/Meta-Llama-3-8B\"\nbudget { device_memory <= 2GiB }"));
}

#[test]
fn names_that_were_probably_meant() {
    insta::assert_snapshot!(reports("adapter lora {\n  targets = [q_proj, v_porj]\n}\ntrain { micro_bach = 2 }"));
}

#[test]
fn hardware() {
    insta::assert_snapshot!(reports("train { precision = bf16 }\nbudget { device_memory <= 16GB }"));
}

#[test]
fn a_comment_that_silences_nothing() {
    insta::assert_snapshot!(reports("# memspec: allow(thin-hedroom) measured\ntrain { micro_batch = 1 }"));
}

#[test]
fn asserts_that_nothing_can_check() {
    let asserts = "assert host_memory <= 16GiB and disk <= 1GiB\n  assert headroom >= 99.9% else \"too full\"\n}\n";
    let plan = with("train { micro_batch = 1 }");
    insta::assert_snapshot!(reports(&format!("{}  {asserts}", plan.strip_suffix("}\n").unwrap())));
}

#[test]
fn one_line_each() {
    let folder = folder();
    let (document, findings) = check(folder.path(), &with("train { precision = bf16 }\nmodel = \"x/y\""));
    let lines: String = findings.iter().map(|finding| report::concise(&document.source, finding)).collect();
    insta::assert_snapshot!(lines);
}

#[test]
fn generated_files_are_fresh() {
    fresh("docs/rules.md", &registry::pages());
    fresh("schemas/check.schema.json", &json::schema());
    fresh("schemas/estimate.schema.json", &estimate::schema());
    fresh("schemas/diagnose.schema.json", &diagnose::schema());
    fresh("schemas/memspec-toml.schema.json", &config::schema());
    fresh("schemas/accuracy.schema.json", &accuracy::schema());
}
