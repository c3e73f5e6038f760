//! The language server, over the real protocol.

#[path = "server/client.rs"]
mod client;
#[path = "server/edits.rs"]
mod edits;
#[path = "server/fixture.rs"]
mod fixture;

use std::path::Path;

use client::Client;
use edits::{Dice, Typist};
use serde_json::{Value, json};

/// Every file of `tests/server/fixtures`, asked what its comments ask.
#[test]
fn files_that_say_what_to_ask() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/fixtures");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let source = std::fs::read_to_string(&file).unwrap();
        insta::assert_snapshot!(name.replace('.', "_"), fixture::answers(name, &source));
    }
}

const URI: &str = "file:///plans/plan.mem";

fn at(line: u32, character: u32) -> Value {
    json!({"textDocument": {"uri": URI}, "position": {"line": line, "character": character}})
}

#[test]
fn columns_are_counted_as_the_client_counts_them() {
    let before = "plan \"ä😀\" { train { accumulate = ";
    for (encoding, column) in [("utf-8", before.len()), ("utf-16", before.encode_utf16().count())] {
        let mut client = Client::new(encoding);
        client.open(URI, &format!("let x = 1\n{before}x }} }}\n"));
        let found = client.request("textDocument/definition", at(1, column as u32));
        assert_eq!(found["range"]["start"], json!({"line": 0, "character": 4}), "{encoding}");
    }
}

#[test]
fn a_request_that_is_not_understood_is_an_error_and_the_next_one_is_answered() {
    let mut client = Client::new("utf-16");
    assert!(client.try_request("textDocument/hover", json!({"position": 7})).is_err());
    assert!(client.try_request("memspec/unheardOf", json!({})).is_err());
    client.tell(
        "textDocument/didChange",
        json!({"textDocument": {"uri": "file:///never/opened.mem", "version": 3}, "contentChanges": []}),
    );
    assert_eq!(client.request("textDocument/hover", at(0, 0)), Value::Null);
    client.open(URI, "plan \"p\" { }");
    assert_eq!(client.diagnostics(URI, 1)[0]["code"], "missing-model");
}

#[test]
fn what_was_canceled_is_not_answered() {
    let mut client = Client::new("utf-16");
    client.open(URI, "plan \"p\" { }");
    let slow: Vec<_> = (0..8).map(|_| client.ask("textDocument/hover", at(0, 1))).collect();
    for id in 1..=20 {
        client.tell("$/cancelRequest", json!({"id": id}));
    }
    drop(slow);
    // requests made after that are
    assert!(client.request("textDocument/hover", at(0, 1)).is_object());
}

#[test]
fn a_client_that_asks_for_diagnostics_gets_them() {
    let mut client = Client::with(json!({"textDocument": {"diagnostic": {}}}));
    client.open(URI, "plan \"p\" { }");
    let report = client.request("textDocument/diagnostic", json!({"textDocument": {"uri": URI}}));
    assert_eq!(report["kind"], "full");
    assert_eq!(report["items"][0]["code"], "missing-model");
}

#[test]
fn a_profile_is_found_and_renamed_with_the_plans_that_extend_it() {
    let text =
        "profile small { train { micro_batch = 1 } }\nplan \"p\" extends small { }\nplan \"q\" extends small { }\n";
    let mut client = Client::new("utf-16");
    client.open(URI, text);
    let found = client.request("textDocument/definition", at(1, 20));
    assert_eq!(found["range"]["start"], json!({"line": 0, "character": 8}));
    let mut rename = at(2, 18);
    rename["newName"] = json!("tiny");
    let edit = client.request("textDocument/rename", rename);
    assert_eq!(fixture::apply(text, &edit["changes"][URI]), text.replace("small", "tiny"));
}

#[test]
fn names_of_other_files_are_found_where_they_are_open_and_where_they_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let uri = |name: &str| format!("file://{}/{name}", folder.path().display());
    std::fs::write(folder.path().join("base.mem"), "let other = 1\nlet tokens = 512tok\n").unwrap();
    let mut client = Client::new("utf-16");
    let plan = "import \"base.mem\" as base\nplan \"p\" { data { context = base.tokens } }\n";
    client.open(&uri("plan.mem"), plan);
    let at = |line: usize, word: &str| {
        let character = plan.lines().nth(line).unwrap().find(word).unwrap();
        json!({"textDocument": {"uri": uri("plan.mem")}, "position": {"line": line, "character": character}})
    };
    let place = |found: &Value| (found["uri"].as_str().unwrap().to_owned(), found["range"]["start"]["line"].clone());

    let found = client.request("textDocument/definition", at(1, "tokens"));
    assert_eq!(place(&found), (uri("base.mem"), json!(1)), "on disk");
    client.open(&uri("base.mem"), "let tokens = 256tok\n");
    let found = client.request("textDocument/definition", at(1, "tokens"));
    assert_eq!(place(&found), (uri("base.mem"), json!(0)), "as it is open");
    let found = client.request("textDocument/definition", at(1, "base."));
    assert_eq!(place(&found), (uri("plan.mem"), json!(0)), "the import");
    let found = client.request("textDocument/definition", at(0, "base.mem"));
    assert_eq!(place(&found), (uri("base.mem"), json!(0)), "the file");

    let items = client.request("textDocument/completion", at(0, "base.mem"));
    assert_eq!(items.as_array().unwrap().iter().map(|item| &item["label"]).collect::<Vec<_>>(), ["base.mem"]);
    let mut rename = at(1, "base.");
    rename["newName"] = json!("common");
    let edit = client.request("textDocument/rename", rename);
    assert_eq!(
        fixture::apply(plan, &edit["changes"][uri("plan.mem")]),
        "import \"base.mem\" as common\nplan \"p\" { data { context = common.tokens } }\n"
    );
}

#[test]
fn what_is_imported_is_read_as_it_is_open_and_who_imports_it_is_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let uri = |name: &str| format!("file://{}/{name}", folder.path().display());
    let (plan, base, new) = (uri("plan.mem"), uri("base.mem"), uri("new.mem"));
    std::fs::write(folder.path().join("memspec.toml"), "").unwrap();
    std::fs::write(folder.path().join("base.mem"), "import \"values.mem\"\n").unwrap();
    std::fs::write(folder.path().join("values.mem"), "let other = 1\n").unwrap();
    let wrong = |client: &mut Client, version| -> Vec<String> {
        let found = client.diagnostics(&plan, version);
        let errors = found.as_array().unwrap().iter().filter(|one| one["severity"] == 1);
        errors.map(|one| one["message"].as_str().unwrap().lines().next().unwrap().to_owned()).collect()
    };
    let mut client = Client::new("utf-16");
    let text =
        "import \"base.mem\" as base\nplan \"p\" { model = \"smollm2-135m\"; train { micro_batch = base.size } }\n";
    client.open(&plan, text);
    assert_eq!(wrong(&mut client, 1), ["`base.mem` has no `let size`"], "on disk");

    client.open(&base, "let size = 1\n");
    assert!(wrong(&mut client, 1).is_empty(), "as it is open");
    client.change(&base, 2, json!([{"text": "let size = 1GiB\n"}]));
    assert_eq!(
        wrong(&mut client, 1),
        ["`micro_batch` takes a whole number, got base.size, which is 1GiB"],
        "as it is typed"
    );
    client.tell("textDocument/didClose", json!({"textDocument": {"uri": base}}));
    assert_eq!(wrong(&mut client, 1), ["`base.mem` has no `let size`"], "on disk again");

    // what the imported file imports, too: open, then saved by somebody else
    client.open(&uri("values.mem"), "let size = 1\n");
    assert!(wrong(&mut client, 1).is_empty(), "through another file");
    client.tell("textDocument/didClose", json!({"textDocument": {"uri": uri("values.mem")}}));
    assert_eq!(wrong(&mut client, 1), ["`base.mem` has no `let size`"], "closed without saving");
    std::fs::write(folder.path().join("values.mem"), "let size = 1\n").unwrap();
    client.tell("workspace/didChangeWatchedFiles", json!({"changes": [{"uri": uri("values.mem"), "type": 2}]}));
    assert!(wrong(&mut client, 1).is_empty(), "saved");

    // a text that was never saved
    client.change(&plan, 2, json!([{"text": text.replace("base.mem", "new.mem")}]));
    assert_eq!(wrong(&mut client, 2), ["there is no file `new.mem`"]);
    client.open(&new, "let size = 1\n");
    assert!(wrong(&mut client, 2).is_empty(), "before it is saved");
}

/// A client that asks for diagnostics itself is told to ask again.
#[test]
fn who_asks_for_diagnostics_is_told_when_an_imported_file_changes() {
    let folder = tempfile::tempdir().unwrap();
    let uri = |name: &str| format!("file://{}/{name}", folder.path().display());
    let mut client = Client::with(json!({
        "textDocument": {"diagnostic": {}},
        "workspace": {"diagnostics": {"refreshSupport": true}},
    }));
    client.open(&uri("plan.mem"), "import \"base.mem\"\nplan \"p\" { model = \"smollm2-135m\" }\n");
    client.open(&uri("base.mem"), "let size = 1\n");
    client.asked_for("workspace/diagnostic/refresh");
    let report = client.request("textDocument/diagnostic", json!({"textDocument": {"uri": uri("plan.mem")}}));
    assert!(report["items"].as_array().unwrap().iter().all(|one| one["severity"] != 1), "{report}");
}

/// The real command, by bytes: what an editor starts.
#[test]
fn the_command_serves_over_standard_input_and_output() {
    use std::io::{BufReader, Write};
    use std::process::{Command, Stdio};

    use lsp_server::{Message, Notification, Request};

    let mut server = Command::new(assert_cmd::cargo::cargo_bin!("memspec-lint"))
        .args(["server", "--stdio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut to, mut from) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
    let mut send = |message: Message| message.write(&mut to).and_then(|()| to.flush()).unwrap();
    let request = |id: i32, method: &str, params: Value| Request::new(id.into(), method.to_owned(), params).into();
    let tell = |method: &str, params: Value| Notification::new(method.to_owned(), params).into();

    send(request(1, "initialize", json!({"capabilities": {}})));
    let Some(Message::Response(hello)) = Message::read(&mut from).unwrap() else { panic!("no answer") };
    let hello = hello.response_result.unwrap();
    assert_eq!(hello["serverInfo"]["name"], "memspec-lint");
    assert_eq!(hello["capabilities"]["positionEncoding"], "utf-16");
    send(tell("initialized", json!({})));
    let item = json!({"uri": URI, "languageId": "mem", "version": 1, "text": "plan \"p\" { modl = \"m\" }"});
    send(tell("textDocument/didOpen", json!({"textDocument": item})));
    let Some(Message::Notification(found)) = Message::read(&mut from).unwrap() else { panic!("no diagnostics") };
    let found = found.params["diagnostics"].as_array().unwrap().clone();
    assert!(found.iter().any(|one| one["code"] == "unknown-setting"), "{found:#?}");
    if cfg!(target_os = "linux") {
        assert!(resident(server.id()) < 60 << 20, "{} bytes", resident(server.id()));
    }
    send(request(2, "shutdown", Value::Null));
    // on a busy machine the diagnostics come once more before it, complete
    while !matches!(Message::read(&mut from), Ok(Some(Message::Response(_)))) {}
    send(tell("exit", Value::Null));
    assert!(server.wait().unwrap().success());
}

/// Bytes of a process's resident memory.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// 2,000 edits; `MEMSPEC_EDITS=100000` makes more (run so on 2026-11-27: nothing found). Half of them are of a plan, the others of a file of axolotl and of a plan in YAML. Most go to the
/// server together with others, as from a fast typist; then its answers are those of a server that opens the text as it is now.
#[test]
fn after_any_edits_it_knows_what_a_fresh_server_knows() {
    let edits: usize = std::env::var("MEMSPEC_EDITS").ok().map_or(2_000, |count| count.parse().expect("a number"));
    check_edits("plan.mem", include_str!("server/fixtures/tight.mem"), edits / 2);
    check_edits("lora.yml", include_str!("server/fixtures/axolotl.yml"), edits / 4);
    check_edits("plan.yaml", include_str!("server/fixtures/plan.yaml"), edits / 4);
}

fn check_edits(name: &str, text: &str, edits: usize) {
    let (mut client, mut fresh) = (Client::new("utf-16"), Client::new("utf-16"));
    let mut typist = Typist { dice: Dice(0x9E37_79B9_7F4A_7C15), text: text.to_owned() };
    let uri = format!("file:///plans/{name}");
    client.open(&uri, text);
    let (mut done, mut compared) = (0, 0);
    let mut version = 1;
    while done < edits {
        let changes: Vec<Value> = (0..1 + typist.dice.roll(20)).map(|_| typist.edit()).collect();
        done += changes.len();
        version += 1;
        client.change(&uri, version, Value::Array(changes));
        if typist.dice.roll(4) > 0 {
            continue;
        }
        let line = typist.dice.roll(typist.text.lines().count() + 1);
        let place = json!({"line": line, "character": typist.dice.roll(30)});
        // another folder: a trainer's file names its plan
        let folder = format!("/fresh{version}");
        let other = format!("file://{folder}/{name}");
        fresh.open(&other, &typist.text);
        let known = edits::state(&mut client, &uri, version, &place);
        let expected = edits::state(&mut fresh, &other, 1, &place);
        for ((method, known), (_, expected)) in known.into_iter().zip(expected) {
            // the folders of the two differ, which are also named where an import is missing
            let known: Value = serde_json::from_str(&known.to_string().replace("/plans", &folder)).unwrap();
            assert_eq!(known, expected, "{method} after {done} edits of\n{}", typist.text);
        }
        compared += 1;
        fresh.tell("textDocument/didClose", json!({"textDocument": {"uri": other}}));
        // from time to time from the beginning, or all would be noise
        if typist.dice.roll(8) == 0 {
            typist.text = text.to_owned();
            version += 1;
            client.change(&uri, version, json!([{"text": text}]));
        }
    }
    println!("{name}: {done} edits, compared {compared} times");
}
