//! The page of `estimate --html`: that it says what the estimate says, stands alone, and takes no plan's words for its own.
//! How it looks in a browser is looked at by `tests/page/check.mjs`.

mod common;

use std::fs;

use common::command::{folder, run};
use memspec::quantity::Bytes;
use scraper::{ElementRef, Html, Selector};
use serde_json::Value;

const PLANS: &str = r#"mem 1

plan "<script>alert(1)</script> & \"co\"" {
  model  = "meta-llama/Meta-Llama-3-8B"
  device = t4
  engine = unsloth
  quantize nf4 { double = true }
  adapter lora { rank = sweep [8, 16] }
  data { path = "</code><img src=x onerror=alert(1)>.jsonl"; context = 1024tok }
  train { micro_batch = 1; accumulate = 2; checkpointing = block; steps = 10 }
  save { merge = true }
}

plan "served" {
  model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
  device = t4
  serve { context = 1024tok }
}
"#;

fn all<'p>(page: &'p Html, selector: &str) -> Vec<ElementRef<'p>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

fn text(element: ElementRef<'_>) -> String {
    element.text().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The page of a file, and what `--json` says of it.
fn page(plans: &str) -> (String, Value) {
    let folder = folder(&[("a.mem", plans)]);
    let ran = run(folder.path(), &["estimate", "a.mem", "--json", "--html", "a.html"]);
    assert_eq!((ran.code, ran.err.as_str()), (0, "wrote a.html\n"));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "nothing else is left: {names:?}");
    (fs::read_to_string(folder.path().join("a.html")).unwrap(), serde_json::from_str(&ran.out).unwrap())
}

#[test]
fn the_page_has_the_figures_of_the_estimate() {
    let (written, json) = page(PLANS);
    let html = Html::parse_document(&written);
    assert_eq!(html.errors, Vec::<String>::new());
    let plans = json["plans"].as_array().unwrap();
    let articles = all(&html, "article");
    assert_eq!((plans.len(), articles.len()), (3, 3), "one section for each plan, and of a sweep for each run");
    for (plan, article) in plans.iter().zip(articles) {
        let part = Html::parse_fragment(&article.html());
        assert_eq!(text(all(&part, ".name")[0]), plan["name"].as_str().unwrap());
        let rows: Vec<Vec<String>> = all(&part, "section[aria-labelledby^=peak] tbody tr")
            .iter()
            .map(|row| row.child_elements().map(text).collect())
            .collect();
        let at_peak = plan["at_peak"].as_array().unwrap();
        assert_eq!(rows.len(), at_peak.len());
        for (row, alive) in rows.iter().zip(at_peak) {
            let name = format!("{} {}", alive["what"].as_str().unwrap(), alive["setting"].as_str().unwrap());
            assert_eq!((&row[0], &row[1]), (&name, &Bytes(alive["bytes"].as_u64().unwrap()).to_string()));
        }
        let settings = plan["by_setting"].as_array().unwrap().len();
        assert_eq!(all(&part, "section[aria-labelledby^=price] tbody tr").len(), settings);
        assert!(text(all(&part, ".figures")[0]).contains(&Bytes(bytes(plan, "process")).to_string()));
        let trains = plan["name"] != "served";
        assert_eq!(all(&part, "svg").is_empty(), !trains);
        assert_eq!(all(&part, ".changes tbody tr").is_empty(), !trains);
        if trains {
            assert_eq!(text(all(&part, "tr.now th")[0]), format!("{} peak", plan["peak"]["phase"].as_str().unwrap()));
            let phases = all(&part, ".phases")[0].child_elements().count();
            assert_eq!(phases, all(&part, "section[aria-labelledby^=when] tbody tr").len());
            let steps: Vec<String> = all(&part, ".steps span").into_iter().map(text).collect();
            assert_eq!(steps, ["first step", "every later step"]);
        }
    }
}

fn bytes(plan: &Value, of: &str) -> u64 {
    plan["peak"][of]["bytes"].as_u64().unwrap()
}

#[test]
fn it_asks_for_nothing_and_what_a_plan_says_stays_text() {
    let (written, _) = page(PLANS);
    let html = Html::parse_document(&written);
    assert_eq!(all(&html, "script, img, iframe, object, embed, base, form").len(), 0);
    assert!(text(all(&html, "h2.name")[0]).starts_with("<script>alert(1)</script> & \"co\""));
    assert_eq!(all(&html, "pre code")[0].text().collect::<String>(), PLANS);
    let ids: Vec<&str> = all(&html, "[id]").iter().filter_map(|one| one.attr("id")).collect();
    for element in all(&html, "*") {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on"), "{name}={value}");
            if ["src", "href", "xlink:href", "data", "action"].contains(&name) {
                let inside = value.strip_prefix('#').is_some_and(|id| ids.contains(&id));
                assert!(inside || value == "data:,", "{name}={value}");
            }
        }
    }
    let style = text(all(&html, "style")[0]);
    assert!(!style.contains("url(") && !style.contains("@import"), "{style}");
}

#[test]
fn a_plan_is_not_overwritten_and_a_page_is() {
    let plan = PLANS.replace("sweep [8, 16]", "8");
    let folder = folder(&[("a.mem", &plan), ("b.html", "old")]);
    let ran = run(folder.path(), &["estimate", "a.mem", "--html", "a.mem"]);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(ran.err.contains("would overwrite a plan") && ran.err.contains("report.html"), "{}", ran.err);
    assert_eq!(fs::read_to_string(folder.path().join("a.mem")).unwrap(), plan);

    let ran = run(folder.path(), &["estimate", "a.mem", "--html", "nowhere/b.html"]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("cannot write `nowhere/b.html`"), "{}", ran.err);

    let ran = run(folder.path(), &["estimate", "a.mem", "--html", "b.html"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(fs::read_to_string(folder.path().join("b.html")).unwrap().starts_with("<!doctype html>"));
    assert!(ran.out.contains("alive at the peak"), "the table is printed, too: {}", ran.out);
}

#[test]
fn the_same_plan_gives_the_same_page() {
    assert!(page(PLANS).0 == page(PLANS).0);
}
