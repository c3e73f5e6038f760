use super::*;
use crate::template::ChatTemplate;
use crate::testing::{Gguf, json_fixture, write};
use crate::tokenizer::Tokenizer;
use proptest::prelude::*;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

fn tokenizer() -> Tokenizer {
    let fixture = json_fixture("vocabularies.json");
    let list = |value: &serde_json::Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let mut tokens = list(&fixture["byte_level"]["tokens"]);
    let plain = tokens.len();
    tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let types: Vec<i32> = (0..tokens.len()).map(|id| if id < plain { 1 } else { 3 }).collect();
    let file = Gguf::default()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "smollm")
        .texts("tokenizer.ggml.tokens", &tokens)
        .integers("tokenizer.ggml.token_type", &types)
        .texts("tokenizer.ggml.merges", &list(&fixture["byte_level"]["merges"]))
        .number("tokenizer.ggml.eos_token_id", plain as u32 + 1);
    let folder = tempfile::tempdir().unwrap();
    Tokenizer::open(write(folder.path(), "m.gguf", file.bytes())).unwrap()
}

struct Case<'a> {
    template: Option<&'a str>,
    format: Format,
    loss_on: LossOn,
    context: usize,
}

const CHAT: Case<'_> = Case { template: Some(CHATML), format: Format::Auto, loss_on: LossOn::Assistant, context: 2048 };
const TEXT: Case<'_> = Case { template: None, format: Format::Auto, loss_on: LossOn::All, context: 2048 };

fn load(case: &Case<'_>, lines: impl AsRef<[u8]>) -> Result<(Dataset, Tokenizer), DataError> {
    let tokenizer = tokenizer();
    let template: Option<ChatTemplate> = case.template.map(|text| tokenizer.compile("t.jinja", text).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "train.jsonl", lines);
    let options =
        Options { format: case.format, loss_on: case.loss_on, context: case.context, template: template.as_ref() };
    Dataset::load(&path, &tokenizer, &options).map(|dataset| (dataset, tokenizer))
}

/// The whole text of the first sample, and each run of scored tokens as text.
fn check(case: &Case<'_>, lines: &str, whole: &str, scored: &[&str]) {
    let (dataset, tokenizer) = load(case, lines).unwrap();
    let sample = dataset.sample(0);
    assert_eq!(tokenizer.decode(sample.ids).unwrap(), whole);
    let mut runs: Vec<Vec<u32>> = Vec::new();
    let mut before = false;
    for (&id, &now) in sample.ids.iter().zip(&sample.scored) {
        match (before, now) {
            (false, true) => runs.push(vec![id]),
            (true, true) => runs.last_mut().unwrap().push(id),
            _ => {}
        }
        before = now;
    }
    let runs: Vec<String> = runs.iter().map(|run| tokenizer.decode(run).unwrap()).collect();
    assert_eq!(runs, scored, "{lines}");
}

#[test]
fn only_the_assistants_words_and_their_end_are_scored() {
    let chat = r#"{"messages":[{"role":"system","content":"Be."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello world\n\n"},{"role":"user","content":"And?"},{"role":"assistant","content":" ok"}]}"#;
    let whole = "<|im_start|>system\nBe.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello world\n\n<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n ok<|im_end|>\n";
    check(&CHAT, chat, whole, &["Hello world\n\n<|im_end|>", " ok<|im_end|>"]);
    check(&Case { loss_on: LossOn::All, ..CHAT }, chat, whole, &[whole]);
    let sharegpt = r#"{"conversations":[{"from":"human","value":"Hi"},{"from":"gpt","value":"ok"}]}"#;
    let whole = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n";
    check(&CHAT, sharegpt, whole, &["ok<|im_end|>"]);
    let parts =
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":"ok"}]}"#;
    check(&CHAT, parts, whole, &["ok<|im_end|>"]);
    let first = r#"{"messages":[{"role":"assistant","content":"ok"},{"role":"user","content":"Hi"}]}"#;
    check(&CHAT, first, "<|im_start|>assistant\nok<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n", &["ok<|im_end|>"]);
}

#[test]
fn a_generation_prompt_that_goes_further_than_the_turn_is_cut() {
    let thinking = format!("{}{{% if add_generation_prompt %}}<think>{{% endif %}}", CHATML);
    let chat = r#"{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"ok"}]}"#;
    let whole = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nok<|im_end|>\n";
    check(&Case { template: Some(&thinking), ..CHAT }, chat, whole, &["ok<|im_end|>"]);
}

#[test]
fn instructions_go_through_the_template_or_stand_alone() {
    let whole = "<|im_start|>user\nAdd\n\n1 2<|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n";
    check(&CHAT, r#"{"instruction":"Add","input":"1 2","output":"3"}"#, whole, &["3<|im_end|>"]);
    let whole = "<|im_start|>user\nAdd<|im_end|>\n<|im_start|>assistant\n3<|im_end|>\n";
    check(&CHAT, r#"{"instruction":"Add","input":"","output":"3"}"#, whole, &["3<|im_end|>"]);
    check(&CHAT, r#"{"prompt":"Add","completion":"3"}"#, whole, &["3<|im_end|>"]);
    let bare = Case { template: None, ..CHAT };
    check(&bare, r#"{"prompt":"Add:","completion":" 3"}"#, "Add: 3<|im_end|>", &[" 3<|im_end|>"]);
}

#[test]
fn text_is_scored_whole_with_its_end() {
    check(&TEXT, r#"{"text":"Hello world"}"#, "Hello world<|im_end|>", &["Hello world<|im_end|>"]);
    check(&TEXT, "\u{feff}\n  \r\n{\"text\":\"Hello\"}\r\n\n", "Hello<|im_end|>", &["Hello<|im_end|>"]);
}

#[test]
fn long_samples_are_cut_and_counted() {
    let lines = "{\"text\":\"1 2 3 4 5 6 7 8 9\"}\n{\"text\":\"ok\"}\n";
    let (dataset, _) = load(&Case { context: 5, ..TEXT }, lines).unwrap();
    assert_eq!((dataset.len(), dataset.longest(), dataset.truncated()), (2, 5, 1));
    assert_eq!(dataset.tokens(), 5 + dataset.sample_length(1));
}

#[test]
fn broken_data_is_named_with_its_line() {
    let fails = |case: &Case<'_>, lines: &[u8], parts: &[&str]| {
        let message = load(case, lines).map(|_| ()).expect_err("broken data").to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "`{part}` is not in: {message}"));
    };
    let ok = r#"{"text":"ok"}"#;
    fails(&TEXT, b"", &["train.jsonl", "empty"]);
    fails(&TEXT, b"\n \n", &["empty"]);
    fails(&TEXT, format!("{ok}\n\n{{\"text\": \n").as_bytes(), &["train.jsonl:3:", "not a JSON object"]);
    fails(&TEXT, format!("{ok}\n[1]\n").as_bytes(), &[":2:", "not a JSON object"]);
    fails(&TEXT, format!("{ok}\n{{\"txt\":\"x\"}}\n").as_bytes(), &[":2:", "`text` is missing", "`txt`"]);
    fails(&TEXT, format!("{ok}\n{{\"text\":5}}\n").as_bytes(), &[":2:", "a number"]);
    fails(&TEXT, b"{\"text\":\"ok\"}\n{\"text\":\"\xff\"}\n", &[":2:", "not UTF-8", "byte 9"]);
    fails(&TEXT, b"{\"question\":\"x\",\"reply\":\"y\"}", &[":1:", "`question`, `reply`", "`messages`"]);
    fails(&TEXT, b"[{\"text\":\"ok\"}]", &["JSON list", "jq"]);
    fails(&TEXT, b"PAR1....", &["Parquet", "to_json"]);
    fails(&TEXT, b"{\"text\":\"\"}", &[":1:", "empty"]);
    let chat = |messages: &str| format!(r#"{{"messages":{messages}}}"#).into_bytes();
    let user = r#"[{"role":"user","content":"Hi"}]"#;
    fails(&CHAT, &chat(user), &[":1:", "no assistant turn"]);
    fails(&CHAT, &chat("[]"), &[":1:", "`messages` is empty"]);
    fails(&CHAT, &chat("[5]"), &["turn 1", "no object"]);
    fails(&CHAT, &chat(r#"[{"content":"Hi"}]"#), &["turn 1", "`role`"]);
    fails(&CHAT, &chat(r#"[{"role":"user","content":null}]"#), &["turn 1", "`content`"]);
    fails(&Case { template: None, ..CHAT }, &chat(user), &["no chat template", "set `template`"]);
    let late = r#"[{"role":"user","content":"Hi"},{"role":"assistant","content":"ok"}]"#;
    fails(&Case { context: 5, ..CHAT }, &chat(late), &[":1:", "first 5 of the sample's", "raise `context`"]);
    let raising = "{{ raise_exception('no') }}";
    fails(&Case { template: Some(raising), ..CHAT }, &chat(late), &[":1:", "t.jinja, line 1", "no"]);
    let moody = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}";
    fails(&Case { template: Some(moody), ..CHAT }, &chat(late), &[":1:", "turn 2", "loss_on = all"]);
    let missing = Dataset::load(
        std::path::Path::new("nowhere.jsonl"),
        &tokenizer(),
        &Options { format: Format::Auto, loss_on: LossOn::All, context: 8, template: None },
    );
    let message = missing.expect_err("a missing file").to_string();
    assert!(message.contains("nowhere.jsonl") && message.contains("check `path`"), "{message}");
}

#[test]
fn batches_are_filled_up_without_scoring_the_filling() {
    let (dataset, tokenizer) = load(&Case { context: 12, ..TEXT }, "{\"text\":\"1 2 3\"}\n{\"text\":\"1\"}\n").unwrap();
    let batch = dataset.batch(&[vec![1], vec![0]], Padding::Longest, tokenizer.pad());
    assert_eq!((batch.rows, batch.columns), (2, dataset.longest()));
    assert_eq!(batch.lengths, [2, dataset.longest()]);
    assert!(batch.scored[2..batch.columns].iter().all(|scored| !scored));
    assert!(batch.ids[2..batch.columns].iter().all(|&id| id == tokenizer.pad()));
    assert_eq!(batch.scored_tokens(), 1 + dataset.longest() - 1);
    assert_eq!(dataset.batch(&[vec![1]], Padding::Max, 0).columns, 12);
}

#[test]
fn packed_samples_stay_apart() {
    let (dataset, tokenizer) = load(&Case { context: 12, ..TEXT }, "{\"text\":\"1 2 3\"}\n{\"text\":\"1\"}\n").unwrap();
    let (long, pad) = (dataset.longest(), tokenizer.pad());
    let batch = dataset.batch(&[vec![1, 0], vec![1]], Padding::Max, pad);
    assert_eq!((batch.rows, batch.columns, batch.longest), (2, 12, long));
    assert_eq!(batch.ids[..2], *dataset.sample(1).ids);
    assert_eq!(batch.ids[2..2 + long], *dataset.sample(0).ids);
    // a sample's beginning is not foretold by the sample before it
    assert!(batch.scored[1] && !batch.scored[2] && batch.scored[3]);
    assert_eq!(batch.scored_tokens(), 1 + (long - 1) + 1);
    let filling = |from: usize| (from as u32..12).collect::<Vec<_>>();
    assert_eq!(batch.starts[..12], [vec![0; 2], vec![2; long], filling(2 + long)].concat());
    assert_eq!(batch.starts[12..], [vec![0; 2], filling(2)].concat());
}

/// The samplers of the tests: of samples alone or packed.
fn sampler(lengths: &[u32], context: Option<u32>, micro_batch: usize, seed: u64) -> Sampler {
    let packing = context.map(|context| Packing { lengths: lengths.into(), context });
    Sampler::new(lengths.len(), packing, Order::Random, micro_batch, seed)
}

#[test]
fn samples_come_as_in_their_file() {
    let mut sampler = Sampler::new(5, None, Order::Sequential, 2, 7);
    for _ in 0..2 {
        let epoch: Vec<usize> = (0..3).flat_map(|_| sampler.next_batch()).flatten().collect();
        assert_eq!(epoch, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn batches_of_like_lengths_are_hardly_filled_up() {
    let lengths: Vec<u32> = (0..200).map(|sample| 20 + sample * 37 % 200).collect();
    let columns = |mut sampler: Sampler| -> u32 {
        let longest = |batch: Vec<Vec<usize>>| batch.into_iter().flatten().map(|sample| lengths[sample]).max().unwrap();
        (0..sampler.batches_per_epoch()).map(|_| 8 * longest(sampler.next_batch())).sum()
    };
    let (tokens, random) = (lengths.iter().sum::<u32>(), columns(sampler(&lengths, None, 8, 3)));
    let grouped = columns(Sampler::new(200, None, Order::ByLength(lengths.clone().into()), 8, 3));
    assert!(
        grouped < tokens * 104 / 100 && random > tokens * 150 / 100,
        "{tokens} tokens, {grouped} and {random} filled up"
    );
}

proptest! {
    /// Each epoch has every sample once, epochs differ, and a sampler goes on where another stopped.
    #[test]
    fn the_sampler_holds(
        lengths in prop::collection::vec(1_u32..30, 1..60),
        context in prop::option::of(20_u32..64),
        micro_batch in 1_usize..9,
        seed in any::<u64>(),
        stop in 0_usize..40,
    ) {
        let mut first = sampler(&lengths, context, micro_batch, seed);
        let mut orders = Vec::new();
        let mut batches = 0.0;
        for _ in 0..2 {
            let mut order = Vec::new();
            for _ in 0..first.batches_per_epoch() {
                let rows = first.next_batch();
                prop_assert!(!rows.is_empty() && rows.len() <= micro_batch);
                batches += 1.0;
                for row in &rows {
                    let tokens: u32 = row.iter().map(|&sample| lengths[sample]).sum();
                    prop_assert!(row.len() == 1 || context.is_some_and(|context| tokens <= context), "{row:?}");
                }
                order.extend(rows.into_iter().flatten());
            }
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
            orders.push(order);
        }
        prop_assert!(lengths.len() < 20 || orders[0] != orders[1]);
        prop_assert_eq!(sampler(&lengths, context, micro_batch, seed).batches(2.0), batches);
        let mut first = sampler(&lengths, context, micro_batch, seed);
        (0..stop).for_each(|_| drop(first.next_batch()));
        let mut second = sampler(&lengths, context, micro_batch, seed).resume(first.position());
        for _ in 0..10 {
            prop_assert_eq!(first.next_batch(), second.next_batch());
        }
    }

    /// Each epoch has every sample once, in batches of like length that are resumed, and nothing but the order changes.
    #[test]
    fn samples_of_one_batch_have_like_lengths(
        lengths in prop::collection::vec(1_u32..100, 1..300),
        micro_batch in 1_usize..9,
        seed in any::<u64>(),
        stop in 0_usize..40,
    ) {
        let by_length = || Sampler::new(lengths.len(), None, Order::ByLength(lengths.clone().into()), micro_batch, seed);
        let epoch = |mut sampler: Sampler| -> Vec<Vec<u32>> {
            let batches = sampler.batches_per_epoch();
            let of = |batch: Vec<Vec<usize>>| batch.into_iter().flatten().map(|sample| lengths[sample]).collect();
            (0..batches).map(|_| of(sampler.next_batch())).collect()
        };
        let (grouped, random) = (epoch(by_length()), epoch(sampler(&lengths, None, micro_batch, seed)));
        let sorted = |batches: &[Vec<u32>]| { let mut all = batches.concat(); all.sort_unstable(); all };
        prop_assert_eq!(sorted(&grouped), sorted(&random));
        let mut first = by_length();
        (0..stop).for_each(|_| drop(first.next_batch()));
        let mut second = by_length().resume(first.position());
        for _ in 0..10 {
            prop_assert_eq!(first.next_batch(), second.next_batch());
        }
    }

    /// A sample begins a row only where no row has room for it, so at most one row is half empty.
    #[test]
    fn rows_are_packed_well(lengths in prop::collection::vec(1_u32..40, 1..200), seed in any::<u64>()) {
        let mut sampler = sampler(&lengths, Some(64), usize::MAX, seed);
        let rows = sampler.next_batch();
        let tokens: Vec<u32> = rows.iter().map(|row| row.iter().map(|&sample| lengths[sample]).sum()).collect();
        let under_half = tokens.iter().filter(|&&tokens| tokens <= 32).count();
        prop_assert!(under_half <= 1, "{tokens:?}");
    }
}
