//! How long diagnostics take after a keystroke, in a file of 200 lines with ten plans of a 70B model, over the protocol:
//! `cargo run --release -p memspec-lint --example keystrokes`.
//!
//! Somebody edits values, comments and names; every keystroke is a message. Its time is from there to the first diagnostics of that text, and until they are
//! complete, which is later where the plan that was typed in was not costed within some milliseconds.

use std::time::{Duration, Instant};

use lsp_server::{Connection, Message, Notification, Request, RequestId};
use memspec::model::Environment;
use serde_json::{Value, json};

const URI: &str = "file:///plans/large.mem";
const PLANS: usize = 10;
const KEYSTROKES: usize = 5_000;

/// A plan of 20 lines. The numbers make each another one.
fn plan(n: usize) -> String {
    format!(
        "plan \"run-{n}\" {{
  # the {n}th of its kind
  model  = \"meta-llama/Meta-Llama-3-70B\"
  device = \"h100-80\"
  engine = trl
  quantize nf4 {{ double = true }}
  adapter lora {{
    rank    = {rank}
    alpha   = 32
    targets = all_linear
  }}
  data {{ context = 4096tok }}
  train {{
    micro_batch   = {batch}
    accumulate    = 16
    checkpointing = block
    optimizer     = adamw_8bit
  }}
  budget {{ device_memory <= 79GiB }}
}}
",
        rank = 8 + n,
        batch = 1 + n % 4,
    )
}

/// What is edited: the text before it, and what is typed there, a key at a time, and then taken away again. `9` is any digit, so that hardly any plan
/// is one that was costed before.
const EDITS: &[(&str, &str)] = &[
    ("    rank    = ", "999"),
    ("    alpha   = ", "99"),
    ("    micro_batch   = ", "9"),
    ("    accumulate    = ", "99"),
    ("  data { context = ", "9"),
    ("  budget { device_memory <= ", "99"),
    ("  # the ", "very "),
    ("plan \"run-", "999"),
    ("    targets = ", "x"),
    ("  device = \"", "a"),
];

fn main() {
    let (client, server) = Connection::memory();
    std::thread::spawn(move || memspec_lint::server::run(&server, Environment::default()));
    let send = |message: Message| client.sender.send(message).expect("the server lives");
    let tell = |method: &str, params: Value| send(Notification::new(method.to_owned(), params).into());
    let published = |version: usize| loop {
        if let Message::Notification(Notification { params, .. }) = client.receiver.recv().expect("the server answers")
            && params["version"] == json!(version)
        {
            return params["diagnostics"].as_array().map_or(0, Vec::len);
        }
    };
    send(Request::new(1.into(), "initialize".to_owned(), json!({"capabilities": {}})).into());
    tell("initialized", json!({}));
    let text: String = (0..PLANS).map(plan).collect();
    let start = Instant::now();
    tell(
        "textDocument/didOpen",
        json!({"textDocument": {"uri": URI, "languageId": "mem", "version": 1, "text": text}}),
    );
    let found = published(1);
    println!("{} lines, {found} diagnostics; opened in {:?}", text.lines().count(), start.elapsed());

    let mut dice = 0x9E37_79B9_7F4A_7C15_u64;
    let mut roll = move |sides: usize| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) as usize % sides
    };
    let mut first = Vec::new();
    let mut last = Vec::new();
    let mut version = 1;
    while last.len() < KEYSTROKES {
        let (before, typed) = EDITS[roll(EDITS.len())];
        let plan = roll(PLANS);
        let line = text.lines().enumerate().filter(|(_, line)| line.starts_with(before)).nth(plan);
        let Some((line, _)) = line else { continue };
        let column = before.len();
        let typed: String =
            typed.chars().map(|key| if key == '9' { char::from(b'1' + roll(9) as u8) } else { key }).collect();
        let keys = (0..typed.len()).map(|n| (n, n, &typed[n..=n]));
        let back = (0..typed.len()).rev().map(|n| (n, n + 1, ""));
        for (from, to, key) in keys.chain(back) {
            version += 1;
            let at = |n: usize| json!({"line": line, "character": column + n});
            let change = json!({"range": {"start": at(from), "end": at(to)}, "text": key});
            let document = json!({"uri": URI, "version": version});
            let start = Instant::now();
            tell("textDocument/didChange", json!({"textDocument": document, "contentChanges": [change]}));
            published(version);
            first.push(start.elapsed());
            let ask = json!({"textDocument": {"uri": URI}});
            send(Request::new(RequestId::from(version as i32), "textDocument/diagnostic".to_owned(), ask).into());
            while !matches!(client.receiver.recv(), Ok(Message::Response(_))) {}
            last.push(start.elapsed());
        }
    }
    for (what, times) in [("first", &mut first), ("complete", &mut last)] {
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let [half, most, worst]: [Duration; 3] = [0.5, 0.99, 1.0].map(at);
        println!("{} keystrokes, {what} diagnostics: p50 {half:?}, p99 {most:?}, max {worst:?}", times.len());
    }
}
