//! Texts for laws of the language.

use proptest::prelude::*;

/// Text that is nearly a plan.
pub(crate) fn nearly() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "plan",
        "\"p\"",
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "=",
        "<=",
        ",",
        ";",
        "\n",
        " ",
        "train",
        "adapter",
        "lora",
        "rank",
        "16",
        "8B",
        "2048tok",
        "fit",
        "let",
        "x",
        "budget",
        "device_memory",
        "14.5GiB",
        "\"open",
        "+",
        "-",
        "/",
        ".",
        ":",
        "# c\n",
        "## d\n",
        "@",
        "é",
        "import",
        "profile",
        "extends",
        "assert",
        "mem",
        "1",
        "model",
        "cuda:0",
        "max(",
        "\r\n",
        "not",
    ]);
    prop::collection::vec(parts, 0..60).prop_map(|parts| parts.concat())
}

/// A file of lets, profiles and plans that extend them; most of it is well.
#[allow(dead_code, reason = "not every law takes it")]
pub(crate) fn file() -> impl Strategy<Value = String> {
    let statement = prop::sample::select(vec![
        "model = \"m\"",
        "device = rtx4090",
        "seed = 3 * 7 + half * 2",
        "quantize nf4 { double = true; block = 64 }",
        "quantize { skip = [\"lm_head\"] }",
        "adapter lora { rank = fit [64, 16]; alpha = 2 * rank }",
        "adapter { rank = 8 }",
        "adapter { targets = [q_proj, v_proj]; dropout = 5% }",
        "data { context = sweep [1ktok, 2ktok, window] }",
        "data { path = \"a \\\"b\\\" # c\"; packing = true }",
        "train { micro_batch = fit [8, 4, 2]; accumulate = 16 / micro_batch }",
        "train { micro_batch = 4 }",
        "train { accumulate = ceil(64 / (train.micro_batch + 1)); epochs = 2.5 }",
        "train {\n # why\n learning_rate = 1e-4 # low\n betas = [0.9, 0.999]\n }",
        "eval { micro_batch = max(1, train.micro_batch / 2); every = 100step }",
        "budget { device_memory <= 16GiB - 1.5GiB; wall_clock <= 90min }",
        "budget { headroom >= 5%; cost <= 12usd }",
        "assert tokens_per_step >= 16ktok else \"too \\\"few\\\"\"",
        "assert not (device_memory <= 14.5GiB or train.epochs > -1) and train.precision != bf16",
        "let half = 1 / 2",
        "train { epoch = 3 }",
    ]);
    let body = prop::collection::vec(statement, 0..7).prop_map(|statements| statements.join("\n"));
    let parents = prop::collection::vec(prop::sample::select(vec!["p0", "p1", "p2", "nobody"]), 0..3);
    let item = (body, parents).prop_map(|(body, parents)| {
        let extends = if parents.is_empty() { String::new() } else { format!("extends {}", parents.join(", ")) };
        format!("{extends} {{\n{body}\n}}\n")
    });
    (prop::collection::vec(item, 1..6), 0usize..4).prop_map(|(items, profiles)| {
        let mut text = "let half = 0.5\nlet window = 4096tok\n".to_owned();
        for (n, item) in items.into_iter().enumerate() {
            let head = if n < profiles { format!("profile p{n}") } else { format!("plan \"x{n}\"") };
            text += &format!("{head} {item}");
        }
        text
    })
}
