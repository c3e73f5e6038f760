//! Real mistakes, and what their authors are told: code, place, message, help, repair.
#![cfg(feature = "lang")]

use memspec::plan::{Document, read_text};

fn told(document: &Document) -> String {
    let text = &document.source.text;
    let mut told = String::new();
    for problem in &document.problems {
        let (line, column) = document.source.position(problem.span.start);
        told +=
            &format!("{} at {line}:{column} {:?}\n  {}\n", problem.code, &text[problem.span.clone()], problem.message);
        if let Some(help) = &problem.help {
            told += &format!("  help: {help}\n");
        }
        for (span, label) in &problem.related {
            told +=
                &format!("  {label}: {:?} on line {}\n", &text[span.clone()], document.source.position(span.start).0);
        }
        if let Some(fix) = &problem.fix {
            let repaired = fix.apply(text);
            let line_start = repaired[..fix.range.start].rfind('\n').map_or(0, |at| at + 1);
            let end = fix.range.start + fix.text.len();
            let line_end = repaired[end..].find('\n').map_or(repaired.len(), |at| end + at);
            told += &format!("  repaired: {}\n", repaired[line_start..line_end].trim());
        }
    }
    told
}

/// Statements of a plan that is well but for them.
fn inside(statements: &str) -> String {
    told(&read_text("a.mem", format!("plan \"a\" {{\n  model = \"m\"\n  {statements}\n}}\n")))
}

macro_rules! mistakes {
    ($($name:ident: $told:expr;)+) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!($told);
        }
    )+};
}

mistakes! {
    unknown_setting: inside("train { micro_batc = 4 }");
    setting_of_another_trainer: inside("train { per_device_train_batch_size = 4; lr = 2e-4 }");
    setting_of_another_block: inside("train { rank = 4 }");
    setting_in_no_block: inside("micro_batch = 4");
    unknown_block: inside("trian { micro_batch = 4 }");
    block_as_setting: inside("adapter = lora");
    nested_block: inside("train {\n    data { packing = true }\n  }");
    unknown_kind: inside("quantize nf5 { }\n  adapter { rank = 4 }\n  train fast { }");
    unknown_symbol: inside("train {\n    precision = bf61\n    optimizer = adam_8bit\n  }");
    wrong_unit: inside("data { context = 6h }");
    eight_billion: inside("budget { device_memory <= 8B }");
    unknown_unit: inside("budget { device_memory <= 14.5gb }\n  data { context = 2048tokens }");
    missing_unit: inside("budget { device_memory <= 14 }\n  adapter lora { dropout = 0.05 }");
    unit_after_space: inside("budget { device_memory <= 14.5 GiB }");
    wrong_type: inside("train {\n    micro_batch = \"four\"\n    epochs = true\n    activation_offload = yes\n    micro_batch = 2.5\n  }");
    too_small: inside("train { micro_batch = fit [2, 0]; learning_rate = -1 }");
    duplicates: inside("train { epochs = 1\n    epochs = 2 }\n  train { }");
    list_for_value: inside("train { micro_batch = [8, 4] }");
    value_for_list: inside("train { betas = 0.9 }\n  quantize nf4 { skip = lm_head }");
    quotes: inside("device = a100-80\n  weights = models\n  train { precision = \"bf16\" }");
    missing_model: told(&read_text("a.mem", "plan \"a\" {\n  device = cpu\n}\n"));
    missing_equals: inside("train {\n    micro_batch 4\n    epochs: 3\n    steps\n  }");
    missing_value: inside("train {\n    micro_batch =\n    epochs = 3\n  }");
    unclosed_block: inside("train {\n    epochs = 3\n  budget { wall_clock <= 6h }");
    unclosed_list: inside("train {\n    micro_batch = fit [8, 4\n    epochs = 3\n  }");
    missing_comma: inside("train { micro_batch = fit [8 4 2] }");
    missing_brace: inside("train\n    epochs = 3\n  }");
    brace_on_its_line: inside("train\n  {\n    epochs = 3\n  }");
    brace_too_many: inside("train { epochs = 3 } }\n  budget { wall_clock <= 6h }");
    unclosed_text: inside("weights = \"models\n  device = cpu");
    typographic_quotes: inside("weights = \u{201c}models\u{201d}\n  device = cpu");
    plan_without_quotes: told(&read_text("a.mem", "plan a {\n  model = \"m\"\n}\n"));
    limit_as_setting: inside("budget { device_memory = 14GiB }\n  train { epochs <= 3 }");
    limit_compares: inside("budget { device_memory == 14GiB\n    6h <= 7h }");
    names: inside("let window = 2048tok\n  let block = 3\n  data { context = windw }\n  train { epochs = two; accumulate = 16 / micro_batch }");
    arithmetic: inside("data { context = 2048tok + 1GiB }\n  train { epochs = 1 / 0; accumulate = max(1, 2tok) ; steps = abs(3) }");
    computing_with_a_choice: inside("train {\n    micro_batch = fit [4, 2]\n    accumulate = 16 / micro_batch\n  }");
    later: told(&read_text("a.mem", "mem 2\nimport \"b.mem\" as b\nprofile p { train { epochs = 1 } }\nplan \"a\" extends p {\n  model = \"m\"\n  assert tokens_per_step >= 16ktok else \"few\"\n}\n"));
    two_plans: told(&read_text("a.mem", "plan \"a\" { model = \"m\" }\nplan \"a\" { model = \"m\" }\n"));
    several_at_once: told(&read_text("a.mem", "plan \"a\" {\n  model = \"x\n  device =\n  @@\n  train {\n    epochs = [1\n    steps = 3\n  adapter lora {\n    rank = 16\n  }\n}\nplan \"b\" {\n  model = \"m\"\n  budget { device_memory <= }\n"));
}

#[cfg(feature = "report")]
#[test]
fn a_report_points_into_the_text() {
    use miette::Diagnostic;
    let document = read_text("a.mem", "plan \"a\" {\n  model = \"m\"\n  epochs = 1\n}\n");
    let report = document.report(&document.problems[0]);
    assert_eq!(report.to_string(), "`plan` has no setting `epochs`");
    assert_eq!(report.code().unwrap().to_string(), "unknown-setting");
    let label = report.labels().unwrap().next().unwrap();
    let seen = report.source_code().unwrap().read_span(label.inner(), 0, 0).unwrap();
    assert_eq!((std::str::from_utf8(seen.data()).unwrap(), seen.name(), seen.line()), ("epochs", Some("a.mem"), 2));
}
