//! Mistakes in every form of YAML, and where their authors are told to look.
#![cfg(feature = "yaml")]

use std::ops::Range;

use memspec::plan::{Document, read_text};

/// Each problem below the line that it is in, with its bytes marked.
fn told(document: &Document) -> String {
    let mut told = String::new();
    for problem in &document.problems {
        let (line, column) = document.source.position(problem.span.start);
        told += &format!("{line}:{column} {}: {}\n", problem.code, problem.message);
        told += &marked(&document.source.text, &problem.span, &problem.label);
        for (span, label) in &problem.related {
            told += &marked(&document.source.text, span, label);
        }
        if let Some(help) = &problem.help {
            told += &format!("  help: {help}\n");
        }
        if let Some(fix) = &problem.fix {
            told += &format!("  {:?} becomes {:?}\n", &document.source.text[fix.range.clone()], fix.text);
        }
    }
    told
}

fn marked(text: &str, span: &Range<usize>, label: &str) -> String {
    let shown = |text: &str| text.replace('\t', "→").replace(['\r', '\u{feff}'], "");
    let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[span.start..].find('\n').map_or(text.len(), |length| span.start + length);
    let before = shown(&text[start..span.start]).chars().count();
    let within = shown(&text[span.start..span.end.min(end).max(span.start)]).chars().count();
    let goes_on = if span.end > end { ".." } else { "" };
    let marks = "^".repeat(within.max(1));
    format!("  | {}\n  | {}{marks}{goes_on} {label}\n", shown(&text[start..end]), " ".repeat(before))
}

fn yaml(text: &str) -> String {
    told(&read_text("a.yaml", text))
}

fn json(text: &str) -> String {
    told(&read_text("a.json", text))
}

macro_rules! mistakes {
    ($($name:ident: $told:expr;)+) => {$(
        #[test]
        fn $name() {
            insta::assert_snapshot!($told);
        }
    )+};
}

// What a plan says that the table does not know.
mistakes! {
    unknown_in_block: yaml("name: a\nmodel: m\nadapter:\n  kind: lora\n  rnak: 16  # wrong\ntrain:\n  micro_batch: 4\n");
    unknown_in_flow: yaml("{name: a, model: m, adapter: {kind: lora, rnak: 16, alpha: 3}, train: {\n  micro_batch: 4,\n  presicion: bf16}}\n");
    unknown_in_quotes: yaml("name: a\n\"model\": m\n'adapter':\n  \"kind\": \"lora\"\n  \"rnak\" : 16\n  'alpha':   [1, 2]\n");
    unknown_with_escapes: yaml("name: a\nmodel: m\nadapter: {kind: lora, \"ra\\u006ek\": 8, \"rn\\u0061k\": 16}\n");
    unknown_with_question_marks: yaml("name: a\nmodel: m\n? adapter\n: ? kind\n  : lora\n  ? rnak\n  : 16\n");
    unknown_between_comments: yaml("# rnak: 1\nname: a # rnak: 2\nmodel: m\n# adapter:\nadapter:\n    # rnak: 3\n    kind: lora\n\n    # here\n\n    rnak: 16 # rnak: 4\n");
    unknown_after_other_scripts: yaml("name: \"größe 模型 🦙\" # é\nmodel: m\nadapter: {kind: lora, étoffe: \"🦙\", rnak: 16}\n");
    unknown_after_block_text: yaml("name: a\nmodel: m\neval:\n  generate: |\n    rnak: 1\n    - x\n\n    # no comment\n  evry: 3\n  micro_batch: >-\n    many\n    of them\n");
    unknown_after_text_over_lines: yaml("name: a\nmodel: \"a model\n  of: two lines\"\ndevice: a plain\n  text too\nweihgts: x\n");
    unknown_with_windows_line_ends: yaml("name: a\r\nmodel: m\r\nadapter:\r\n  kind: lora\r\n  rnak: 16\r\ndata: {context: 2k,\r\n  paking: true}\r\n");
    unknown_after_a_mark: yaml("\u{feff}naem: a\nmodel: m\n");
    unknown_in_an_alias: yaml("name: a\nmodel: m\nadapter: &common\n  kind: lora\n  rnak: 16\nquantize: *common\n");
    unknown_in_what_is_merged: yaml("plans:\n- &base\n  name: a\n  model: m\n  train: {micro_batch: 2, epoch: 1}\n- <<: *base\n  name: b\n  output: [x]\n- <<: [{sed: 1}, *base]\n  name: c\n");
    unknown_beside_a_list: yaml("plans:\n  - name: a\n    model: m\n    adapter:\n      kind: lora\n      targets:\n      - q_proj\n      - 7\n      -   \"v_proj\"\n      train_whole:\n        -\n          x\n        - [y]\n  -\n    name: b\n    modle: m\nsed: 1\n");
    unknown_with_dots: yaml("name: a\nmodel: m\ntrain.rank: 8\ntrain: {rank: 8}\n");
    unknown_with_tags: yaml("name: !!str a\nmodel: !x m\nadapter: !y\n  kind: lora\n  rnak: !!int 16\ntrain: !z {micro: 1}\n");
    unknown_in_json: json("{\n\t\"name\": \"a\",\n\t\"model\": \"m\",\n\t\"adapter\": {\"kind\": \"lora\", \"rnak\": 16,\n\t\t\"targets\": [\"q_proj\", 7]},\n\t\"data\": {\"path\": \"\\\"quoted\\\"\", \"contxt\": 2048}\n}\n");
    unknown_keys_that_are_no_names: yaml("name: a\nmodel: m\n7: x\ntrue: y\n~: z\n[a, b]: c\n{d: e}: f\n");
    nothing_behind_a_name: yaml("name: a\nmodel:\ntrain:\n  micro_batch:\n  precision: # none\n  accumulate: ~\ndata:\n");
    values_of_a_wrong_kind: yaml("name: [a]\nmodel: {x: y}\nadapter: lora\ntrain: [1]\ndata:\n  context: {fit: [2k, 6h]}\n  packing: {fit: true}\nbudget:\n  device_memory: 14\n  cost: \"== 3usd\"\n");
}

// What is no YAML.
mistakes! {
    tab_in_indentation: yaml("name: a\nmodel: m\ntrain:\n\tmicro_batch: 4\n");
    tab_behind_spaces: yaml("name: a\r\ntrain:\r\n  \tmicro_batch: 4\r\n  epochs: 1\r\n");
    bracket_not_closed: yaml("name: é\nadapter: {targets: [q_proj, v_proj\ntrain: {micro_batch: 4}\n");
    brace_not_closed: yaml("name: a\nadapter: {kind: lora,\n  rank: 8\n");
    bracket_too_many: yaml("name: a\nadapter: {kind: lora}}\n");
    wrong_bracket: yaml("name: a\ntrain: {micro_batch: {fit: [4, 2}}\n");
    quote_not_closed: yaml("name: a\nmodel: \"m\ntrain: {micro_batch: 4}\n");
    single_quote_not_closed: yaml("name: 'it's'\nmodel: m\n");
    two_names_on_a_line: yaml("name: a\nmodel: m\ntrain: micro_batch: 4\n");
    text_with_a_colon: yaml("name: a\nmodel: m\ndata:\n  path: C: data\n");
    name_without_colon: yaml("name: a\nmodel m\ntrain:\n  micro_batch: 4\n");
    name_without_colon_in_a_block: yaml("name: a\ntrain:\n  micro_batch 4\n  epochs: 1\n");
    less_indented: yaml("name: a\ntrain:\n    micro_batch: 4\n  epochs: 1\n");
    more_indented: yaml("name: a\n  model: m\n");
    list_that_is_left: yaml("name: a\nadapter:\n  targets:\n  - q_proj\n    - v_proj\n  x\n");
    list_beside_names: yaml("- name: a\nmodel: m\n");
    missing_comma: yaml("name: a\nadapter: {kind: lora, targets: [\"q\" \"v\"]}\n");
    missing_comma_in_json: json("{\n  \"name\": \"a\"\n  \"model\": \"m\"\n}\n");
    missing_brace_in_json: json("{\"plans\": [{\"name\": \"a\", \"model\": \"m\"}]\n");
    cut_off_json: json("{\"name\": \"a\", \"mod");
    reserved_character: yaml("name: größe\nmodel: @hub/model\n");
    percent: yaml("name: a\ntrain:\n  warmup: %3\n");
    unknown_anchor: yaml("name: a\nmodel: m\nadapter: *lora\n");
    unknown_anchor_in_a_merge: yaml("name: a\nmodel: m\nadapter: {<<: *lora, kind: lora}\n");
    merged_text: yaml("name: a\nmodel: m\nadapter: {<<: lora, kind: lora}\n");
    anchor_in_itself: yaml("name: a\nadapter: &a\n  kind: lora\n  targets: [*a]\n");
    two_documents: yaml("name: a\nmodel: m\n---\nname: b\nmodel: m\n");
    two_documents_with_an_end: yaml("name: a\r\nmodel: m\r\n...\r\n---\r\nname: b\r\n");
    twice: yaml("name: a\nmodel: m\ntrain:\n  epochs: 1\n  micro_batch: 4\n  \"epochs\": 2\n");
    twice_in_json: json("{\"name\": \"a\", \"model\": \"é\", \"model\": \"n\"}");
    nested_too_deeply: yaml(&format!("name: a\nadapter: {}{}\n", "[".repeat(200), "]".repeat(200)));
    control_character: yaml("name: a\nmodel: \"m\u{1}\"\n");
    not_a_mapping: yaml("just some text\n");
}
