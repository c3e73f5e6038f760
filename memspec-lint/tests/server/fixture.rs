//! Files with comments that say what to ask where.
//!
//! A line `#    ^^^ error: words` marks the line above it: there is such a diagnostic, with these words in it, and none that is not marked. `^ hover`,
//! `^ complete`, `^ definition`, `^ references`, `^ rename NAME` and `^ actions` ask at the caret; `#! lens hints ..` asks about the whole text, and with `diagnostics` among
//! them these need no marks. The answers are a snapshot. The server sees the file without these comments.

use serde_json::{Value, json};

use crate::client::Client;

/// A question about a place.
struct Mark {
    line: usize,
    /// Columns, in bytes.
    from: usize,
    to: usize,
    ask: String,
}

/// Asks everything that a file wants to know; the answers as text.
pub(crate) fn answers(name: &str, source: &str) -> String {
    let (text, marks, whole) = read(source);
    let uri = format!("file:///plans/{name}");
    let mut client = Client::new("utf-8");
    client.open(&uri, &text);
    let mut answers = String::new();
    let found = client.diagnostics(&uri, 1);
    if !whole.iter().any(|ask| ask == "diagnostics") {
        check(&found, &marks, name);
    }
    for mark in marks.iter().filter(|mark| severity(&mark.ask).is_none()) {
        let answer = ask(&mut client, &uri, &text, mark);
        let line = text.lines().nth(mark.line).unwrap_or_default();
        let caret = format!("{}^ {}", " ".repeat(mark.from), mark.ask);
        answers += &format!("{line}\n{caret}\n{}\n\n", indented(&answer));
    }
    for ask in whole {
        answers += &format!("{ask}:\n{}\n\n", indented(&about(&mut client, &uri, &text, &ask)));
    }
    answers
}

fn read(source: &str) -> (String, Vec<Mark>, Vec<String>) {
    let (mut text, mut marks, mut whole, mut line) = (String::new(), Vec::new(), Vec::new(), 0);
    for written in source.lines() {
        if let Some(asks) = written.strip_prefix("#!") {
            whole.extend(asks.split_whitespace().map(str::to_owned));
        } else if written.trim_start().starts_with('#') && written.contains('^') {
            let from = written.find('^').unwrap();
            let to = written.rfind('^').unwrap() + 1;
            marks.push(Mark { line: line - 1, from, to, ask: written[to..].trim().to_owned() });
        } else {
            text += written;
            text += "\n";
            line += 1;
        }
    }
    (text, marks, whole)
}

fn severity(ask: &str) -> Option<(i64, &str)> {
    [(1, "error: "), (2, "warning: "), (3, "info: ")]
        .into_iter()
        .find_map(|(severity, word)| Some((severity, ask.strip_prefix(word)?)))
}

/// Every diagnostic is marked, and every mark has its diagnostic.
fn check(found: &Value, marks: &[Mark], name: &str) {
    let place = |found: &Value| {
        let at = |end: &str| {
            (found["range"][end]["line"].as_u64().unwrap(), found["range"][end]["character"].as_u64().unwrap())
        };
        (at("start"), at("end"))
    };
    let mut left: Vec<&Value> = found.as_array().unwrap().iter().collect();
    for (mark, (severity, words)) in marks.iter().filter_map(|mark| Some((mark, severity(&mark.ask)?))) {
        let (line, from, to) = (mark.line as u64, mark.from as u64, mark.to as u64);
        let at = left.iter().position(|one| {
            let (start, end) = place(one);
            // where something is missing there is nothing to mark but the place
            let end = if start == end { (end.0, end.1 + 1) } else { end };
            one["severity"] == severity
                && one["message"].as_str().unwrap().contains(words)
                && start == (line, from)
                && end == (line, to)
        });
        let at = at.unwrap_or_else(|| panic!("{name}:{}: no {} among {left:#?}", mark.line + 1, mark.ask));
        left.remove(at);
    }
    assert!(left.is_empty(), "{name}: not marked: {left:#?}");
}

fn ask(client: &mut Client, uri: &str, text: &str, mark: &Mark) -> String {
    let document = json!({"uri": uri});
    let position = json!({"line": mark.line, "character": mark.from});
    let at = json!({"textDocument": document, "position": position});
    let (word, rest) = mark.ask.split_once(' ').unwrap_or((&mark.ask, ""));
    match word {
        "hover" => {
            let hover = client.request("textDocument/hover", at);
            hover["contents"]["value"].as_str().unwrap_or("nothing").to_owned()
        }
        "complete" => {
            let items = client.request("textDocument/completion", at);
            let mut items = items.as_array().cloned().unwrap_or_default();
            let key = |item: &Value| item["sortText"].as_str().unwrap_or(item["label"].as_str().unwrap()).to_owned();
            items.sort_by_key(key);
            let label = |item: &Value| item["label"].as_str().unwrap().to_owned();
            match rest {
                // one of them, as it is shown when it is chosen
                "" => items.iter().map(label).collect::<Vec<_>>().join(", "),
                wanted => {
                    let item = items.iter().find(|item| item["label"] == wanted).expect(wanted).clone();
                    let item = client.request("completionItem/resolve", item);
                    let docs = item["documentation"]["value"].as_str().unwrap_or_default();
                    format!("{docs}\n\n{}", edited(text, &json!([item["textEdit"]])))
                }
            }
        }
        "definition" => {
            let found = client.request("textDocument/definition", at);
            found.get("range").map_or("nothing".to_owned(), span)
        }
        "references" => {
            let params =
                json!({"textDocument": document, "position": position, "context": {"includeDeclaration": true}});
            let found = client.request("textDocument/references", params);
            let found = found.as_array().cloned().unwrap_or_default();
            found.iter().map(|one| span(&one["range"])).collect::<Vec<_>>().join(", ")
        }
        "rename" => {
            let params = json!({"textDocument": document, "position": position, "newName": rest});
            match client.try_request("textDocument/rename", params) {
                Ok(edit) => edited(text, &edit["changes"][uri]),
                Err(why) => format!("refused: {why}"),
            }
        }
        "actions" => {
            let range = json!({"start": position, "end": position});
            let params = json!({"textDocument": document, "range": range, "context": {"diagnostics": []}});
            let actions = client.request("textDocument/codeAction", params);
            let actions = actions.as_array().cloned().unwrap_or_default();
            let shown = |action: &Value| {
                let preferred = if action["isPreferred"] == true { " (preferred)" } else { "" };
                format!("{}{preferred}", action["title"].as_str().unwrap())
            };
            match rest.parse::<usize>() {
                // one of them, chosen
                Ok(number) => {
                    let mut action = actions[number - 1].clone();
                    if action["edit"].is_null() {
                        action = client.request("codeAction/resolve", action);
                    }
                    // a file is made, and written
                    if let [create, write] = action["edit"]["documentChanges"].as_array().map_or(&[][..], Vec::as_slice)
                    {
                        assert_eq!(
                            (&create["kind"], &create["uri"]),
                            (&json!("create"), &write["textDocument"]["uri"])
                        );
                        let (file, text) =
                            (create["uri"].as_str().unwrap(), write["edits"][0]["newText"].as_str().unwrap());
                        return format!("{}\n\n{file}\n{text}", shown(&action));
                    }
                    let edits = &action["edit"]["changes"][uri];
                    assert!(edits.is_array(), "no edits here: {action}");
                    format!("{}\n\n{}", shown(&action), edited(text, edits))
                }
                Err(_) => actions.iter().map(shown).collect::<Vec<_>>().join("\n"),
            }
        }
        other => panic!("nobody knows how to ask `{other}`"),
    }
}

/// Asks about all of a text.
fn about(client: &mut Client, uri: &str, text: &str, ask: &str) -> String {
    let document = json!({"uri": uri});
    let end = json!({"line": text.lines().count(), "character": 0});
    let all = json!({"start": {"line": 0, "character": 0}, "end": end});
    let params = json!({"textDocument": document, "range": all, "options": {"tabSize": 2, "insertSpaces": true}});
    let of = |answer: Value, line: &dyn Fn(&Value) -> String| {
        let lines = answer.as_array().cloned().unwrap_or_default();
        lines.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    match ask {
        "diagnostics" => of(client.diagnostics(uri, 1), &|found| {
            format!(
                "{} {}: {}",
                span(&found["range"]),
                found["code"].as_str().unwrap(),
                found["message"].as_str().unwrap()
            )
        }),
        "lens" => of(client.request("textDocument/codeLens", params), &|lens| {
            format!("{} {}", span(&lens["range"]), lens["command"]["title"].as_str().unwrap())
        }),
        "hints" => {
            let hints = client.request("textDocument/inlayHint", params);
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            // from the back, so that columns stay
            for hint in hints.as_array().unwrap().iter().rev() {
                let (line, column) = (hint["position"]["line"].as_u64(), hint["position"]["character"].as_u64());
                let label = format!(" «{}»", hint["label"].as_str().unwrap());
                lines[line.unwrap() as usize].insert_str(column.unwrap() as usize, &label);
            }
            lines.join("\n")
        }
        "symbols" => outline(&client.request("textDocument/documentSymbol", params), ""),
        "folding" => of(client.request("textDocument/foldingRange", params), &|fold| {
            format!("{} to {} {}", fold["startLine"], fold["endLine"], fold["kind"].as_str().unwrap_or_default())
        }),
        "links" => of(client.request("textDocument/documentLink", params), &|link| {
            format!("{} {}", span(&link["range"]), link["target"].as_str().unwrap())
        }),
        "format" => {
            let edits = client.request("textDocument/formatting", params);
            edited(text, &edits)
        }
        "tokens" => {
            let found = client.request("textDocument/semanticTokens/full", params);
            tokens(&found["data"], &client.token_types, text)
        }
        other => panic!("nobody knows how to ask `{other}`"),
    }
}

/// Each word that has a colour, and which.
fn tokens(data: &Value, types: &[String], text: &str) -> String {
    let numbers: Vec<usize> = data.as_array().unwrap().iter().map(|number| number.as_u64().unwrap() as usize).collect();
    let lines: Vec<&str> = text.lines().collect();
    let (mut line, mut column) = (0, 0);
    let mut shown: Vec<String> = vec![String::new(); lines.len()];
    for token in numbers.chunks(5) {
        column = if token[0] == 0 { column + token[1] } else { token[1] };
        line += token[0];
        let mark = match token[4] {
            0 => "",
            1 => "+documentation",
            _ => "+declaration",
        };
        shown[line] += &format!("{}:{}{mark} ", &lines[line][column..column + token[2]], types[token[3]]);
    }
    shown.into_iter().filter(|line| !line.is_empty()).map(|line| line.trim_end().to_owned() + "\n").collect()
}

fn outline(symbols: &Value, indent: &str) -> String {
    let mut text = String::new();
    for symbol in symbols.as_array().into_iter().flatten() {
        let detail = symbol["detail"].as_str().map(|detail| format!(": {detail}")).unwrap_or_default();
        text += &format!("{indent}{}{detail} {}\n", symbol["name"].as_str().unwrap(), span(&symbol["range"]));
        text += &outline(&symbol["children"], &format!("{indent}  "));
    }
    text
}

fn span(range: &Value) -> String {
    let at = |end: &str| format!("{}:{}", range[end]["line"], range[end]["character"]);
    format!("{}-{}", at("start"), at("end"))
}

/// The text with edits made, as an editor makes them: the lines that changed.
fn edited(text: &str, edits: &Value) -> String {
    let after = apply(text, edits);
    let diff = similar::TextDiff::from_lines(text, after.as_str());
    diff.unified_diff()
        .context_radius(0)
        .to_string()
        .lines()
        .filter(|line| !line.starts_with("@@"))
        .fold(String::new(), |all, line| all + line + "\n")
}

/// The text with edits made; none of them may touch another.
pub(crate) fn apply(text: &str, edits: &Value) -> String {
    let lines = memspec_lint::server::Lines::of(text);
    let offset = |position: &Value| {
        let position = serde_json::from_value(position.clone()).unwrap();
        lines.offset(text, position, memspec_lint::server::Encoding::Utf8)
    };
    let edits: Vec<memspec::plan::Edit> = edits
        .as_array()
        .unwrap()
        .iter()
        .map(|edit| memspec::plan::Edit {
            range: offset(&edit["range"]["start"])..offset(&edit["range"]["end"]),
            text: edit["newText"].as_str().unwrap().to_owned(),
        })
        .collect();
    memspec_lint::fix::apply(text, &edits).expect("edits that do not overlap")
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect::<String>()
}
