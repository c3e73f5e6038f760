//! What can be written here: settings and blocks, words with what they mean, models, devices, names, rules to allow.

mod key;

use gen_lsp_types as lsp;
use memspec::lang::TokenKind;
use memspec::plan::{Block, Edit, Kind, Plan, Setting};
use memspec::quantity::Bytes;
use memspec::{device, model};
use serde_json::json;

use crate::costed::Costed;
use crate::registry::RULES;
use crate::server::cursor::Cursor;
use crate::server::documents::Open;
use crate::server::names::{self, Names};
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::CompletionParams) -> Option<lsp::CompletionResponse> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let offset = snapshot.offset(open, position.position);
    if let Some(items) = key::items(snapshot, open, offset) {
        return Some(items.into());
    }
    let tree = open.tree()?;
    let cursor = Cursor::at(open.text(), &tree.tokens, offset);
    let mut items = Items { snapshot, open, offset, cursor: &cursor, all: Vec::new() };
    items.collect();
    Some(items.all.into())
}

/// Adds the peak that a value would give.
pub(crate) fn resolve(snapshot: &Snapshot, mut item: lsp::CompletionItem) -> lsp::CompletionItem {
    if let Some(peak) = peak(snapshot, &item) {
        let before = match item.documentation.take() {
            Some(lsp::Documentation::MarkupContent(content)) => content.value + "\n\n",
            Some(lsp::Documentation::String(text)) => text + "\n\n",
            None => String::new(),
        };
        item.documentation = Some(markdown(before + &peak));
    }
    item
}

/// "peak 13.2 GiB, fits 14.6 GiB" with the item's value in its plan.
fn peak(snapshot: &Snapshot, item: &lsp::CompletionItem) -> Option<String> {
    let data = item.data.as_ref()?;
    let text = |key: &str| data.get(key).and_then(|value| value.as_str());
    let open = snapshot.open(&text("uri")?.into())?;
    let index = usize::try_from(data.get("plan")?.as_u64()?).ok()?;
    let mut plan = open.document.plans.get(index)?.plan.clone();
    let (path, value) = (text("path")?, text("value")?);
    match path {
        "adapter" => plan.adapter.get_or_insert_default().kind = value.parse().ok()?,
        "quantize" => plan.quantize.get_or_insert_default().kind = value.parse().ok()?,
        "parallel" => plan.parallel.get_or_insert_default().kind = value.parse().ok()?,
        path => plan.set(path, value).ok()?,
    }
    let costs = snapshot.memo.costs(&plan, open.linter.base(), open.linter.environment());
    let worst = costs.setups.iter().map(Costed::estimate);
    Some(match worst.max_by_key(|one| one.map_or(u64::MAX, |one| one.needs().0))? {
        Ok(estimate) => format!(
            "peak **{}**, {} {}",
            Bytes(estimate.peak.process.bytes),
            if estimate.fits { "fits" } else { "does not fit" },
            Bytes(estimate.limit_bytes)
        ),
        Err(error) => error.to_string(),
    })
}

struct Items<'a> {
    snapshot: &'a Snapshot,
    open: &'a Open,
    offset: usize,
    cursor: &'a Cursor<'a>,
    all: Vec<lsp::CompletionItem>,
}

impl Items<'_> {
    fn collect(&mut self) {
        let cursor = self.cursor;
        if cursor.comment.is_some() {
            return self.rules();
        }
        let block = match cursor.block() {
            None => return self.outside(),
            Some("plan" | "profile") => Plan::SPEC,
            Some(name) => match Plan::SPEC.block(name) {
                Some(block) => block,
                None => return,
            },
        };
        match (cursor.setting(), cursor.before.as_slice()) {
            (Some(name), before) => {
                if let Some(setting) = block.setting(name) {
                    self.values(block, setting, before.len() > 2);
                }
            }
            (None, []) => self.statements(block),
            (None, [(TokenKind::Word, head)]) => self.kinds(block, head),
            (None, [(TokenKind::Word, "let"), (TokenKind::Word, _), (TokenKind::Assign, _), ..]) => {
                self.names(names::Kind::Let)
            }
            _ => {}
        }
    }

    /// Items of a file.
    fn outside(&mut self) {
        let before = &self.cursor.before;
        if before.iter().any(|(_, word)| *word == "extends") {
            return self.names(names::Kind::Profile);
        }
        match self.cursor.first() {
            Some("import") if before.len() == 1 => self.files(),
            Some("let") if before.len() > 2 => self.names(names::Kind::Let),
            Some("plan" | "profile") if before.len() == 2 => self.word("extends", "the settings of a profile"),
            None => {
                self.snippet(
                    "plan",
                    "a fine-tuning run",
                    "plan \"${1:name}\" {\n  model  = \"$2\"\n  device = $3\n  $0\n}",
                );
                self.snippet("let", "a name for a value", "let ${1:name} = $0");
                self.snippet("profile", "settings for several plans", "profile ${1:name} {\n  $0\n}");
                self.snippet("import", "another file's names", "import \"$1\" as $0");
                self.word("mem 1", "the edition of the language");
            }
            _ => {}
        }
    }

    /// Settings and blocks that are not written yet.
    fn statements(&mut self, block: &'static Block) {
        let plan = self.plan();
        let spans = plan.map(|(_, written)| &written.spans);
        let path = |name: &str| if block.name == "plan" { name.to_owned() } else { format!("{}.{name}", block.name) };
        let written = |name: &str| {
            // what stands at the cursor is being written anew
            let place = spans.and_then(|spans| spans.get(&path(name)));
            place.is_some_and(|place| place.key != self.cursor.word)
        };
        let missing: Vec<&Setting> = block.settings.iter().filter(|setting| !written(setting.name)).collect();
        let blocks: Vec<&Block> = block.blocks.iter().copied().filter(|block| !written(block.name)).collect();
        let sign = if block.limits { "<=" } else { "=" };
        for setting in missing {
            let default = setting.default.map(|default| format!("\n\nDefault: `{default}`")).unwrap_or_default();
            self.add(lsp::CompletionItem {
                label: setting.name.to_owned(),
                kind: Some(lsp::CompletionItemKind::Property),
                detail: Some(setting.kind.to_string()),
                documentation: Some(markdown(format!("{}{default}", setting.doc))),
                sort_text: Some(format!("1{}", setting.name)),
                ..self.replacing(&format!("{} {sign} ", setting.name))
            });
        }
        for block in blocks {
            let kind = if block.kinds.is_empty() { "" } else { " $1" };
            self.add(lsp::CompletionItem {
                kind: Some(lsp::CompletionItemKind::Struct),
                documentation: Some(markdown(block.doc.to_owned())),
                sort_text: Some(format!("2{}", block.name)),
                ..self.snippet_item(block.name, &format!("{}{kind} {{\n  $0\n}}", block.name))
            });
        }
        self.snippet("let", "a name for a value", "let ${1:name} = $0");
    }

    /// What stands between a block's name and its `{`.
    fn kinds(&mut self, block: &'static Block, head: &str) {
        let Some(inner) = block.block(head) else { return };
        for symbol in inner.kinds {
            let data = self.data(head, symbol.name);
            self.add(lsp::CompletionItem {
                label: symbol.name.to_owned(),
                kind: Some(lsp::CompletionItemKind::EnumMember),
                documentation: Some(markdown(symbol.doc.to_owned())),
                data,
                ..self.replacing(symbol.name)
            });
        }
    }

    /// Values of a setting.
    fn values(&mut self, block: &'static Block, setting: &'static Setting, begun: bool) {
        let path =
            if block.name == "plan" { setting.name.to_owned() } else { format!("{}.{}", block.name, setting.name) };
        match path.as_str() {
            "model" => self.texts(model::catalog::names(), "1", &path),
            "device" => {
                let devices = ["auto", "cpu"].into_iter().chain(device::names());
                let machines = device::machines().iter().map(|machine| machine.name.as_str());
                self.texts(devices, "1", &path);
                self.texts(machines, "2", &path);
            }
            _ => {}
        }
        if self.cursor.quoted {
            return;
        }
        let symbols = setting.kind.symbols().into_iter().map(|symbol| (symbol.name, symbol.doc));
        let bools = [("true", ""), ("false", "")].into_iter().filter(|_| setting.kind == Kind::Bool);
        for (name, doc) in symbols.chain(bools) {
            let data = self.data(&path, name);
            self.add(lsp::CompletionItem {
                label: name.to_owned(),
                kind: Some(lsp::CompletionItemKind::EnumMember),
                documentation: (!doc.is_empty()).then(|| markdown(doc.to_owned())),
                detail: setting.default.filter(|default| *default == name).map(|_| "default".to_owned()),
                sort_text: Some(format!("1{name}")),
                data,
                ..self.replacing(name)
            });
        }
        if !begun && !block.limits {
            self.snippet("fit", "the first of these that meets the budget", "fit [$0]");
            self.snippet("sweep", "one run for each of these", "sweep [$0]");
        }
        self.names(names::Kind::Let);
    }

    /// Names that are written in quotes where they are no plain words.
    fn texts(&mut self, names: impl IntoIterator<Item = &'static str>, rank: &str, path: &str) {
        for name in names {
            let plain = path == "device" && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let text = if plain && !self.cursor.quoted { name.to_owned() } else { format!("\"{name}\"") };
            let data = self.data(path, name);
            self.add(lsp::CompletionItem {
                label: name.to_owned(),
                kind: Some(lsp::CompletionItemKind::Module),
                filter_text: Some(text.clone()),
                sort_text: Some(format!("{rank}{name}")),
                data,
                ..self.replacing(&text)
            });
        }
    }

    /// Names that are defined above.
    fn names(&mut self, kind: names::Kind) {
        let Some(tree) = self.open.tree() else { return };
        let names = Names::of(tree);
        for definition in names.visible(self.offset, kind) {
            let value = self.open.text().get(definition.value.clone()).unwrap_or_default();
            self.add(lsp::CompletionItem {
                label: definition.name.text.clone(),
                kind: Some(lsp::CompletionItemKind::Variable),
                detail: (kind == names::Kind::Let).then(|| value.to_owned()),
                documentation: tree.docs(self.open.text(), definition.span.start).map(markdown),
                ..self.replacing(&definition.name.text)
            });
        }
    }

    /// Plans beside this one.
    fn files(&mut self) {
        let own = self.open.document.source.name.rsplit(['/', '\\']).next().unwrap_or_default();
        let Ok(folder) = std::fs::read_dir(self.open.linter.base()) else { return };
        let names = folder.flatten().filter_map(|file| file.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| name.ends_with(".mem") && name != own).collect();
        names.sort();
        for name in names {
            let text = format!("\"{name}\"");
            self.add(lsp::CompletionItem {
                label: name,
                kind: Some(lsp::CompletionItemKind::File),
                filter_text: Some(text.clone()),
                ..self.replacing(&text)
            });
        }
    }

    /// Rules, in a comment that allows some.
    fn rules(&mut self) {
        let comment = self.cursor.comment.clone().unwrap_or_default();
        let before = self.open.text().get(comment.start..self.offset).unwrap_or_default();
        let Some((head, list)) = before.split_once("allow(") else { return };
        if !head.trim_start_matches('#').trim().starts_with("memspec:") || list.contains(')') {
            return;
        }
        let start = self.offset - list.rsplit([',', ' ']).next().unwrap_or(list).len();
        for rule in RULES.iter().filter(|rule| rule.family() != "SPEC" || rule.severity < crate::Severity::Error) {
            self.add(lsp::CompletionItem {
                label: rule.name.to_owned(),
                kind: Some(lsp::CompletionItemKind::Constant),
                detail: Some(rule.code.to_owned()),
                documentation: Some(markdown(rule.summary())),
                ..self.item(rule.name, start..self.offset)
            });
        }
    }

    /// The plan that the cursor is in.
    fn plan(&self) -> Option<(usize, &memspec::plan::Written)> {
        let holds = |written: &memspec::plan::Written| {
            let place = written.spans.get("plan");
            place.is_some_and(|place| place.statement.start <= self.offset && self.offset <= place.statement.end)
        };
        self.open.document.plans.iter().enumerate().rev().find(|(_, written)| holds(written))
    }

    /// What [`resolve`] needs to know.
    fn data(&self, path: &str, value: &str) -> Option<serde_json::Value> {
        let (plan, _) = self.plan()?;
        Some(json!({"uri": self.open.uri.to_string(), "plan": plan, "path": path, "value": value}))
    }

    fn word(&mut self, word: &str, detail: &str) {
        self.add(lsp::CompletionItem {
            kind: Some(lsp::CompletionItemKind::Keyword),
            detail: Some(detail.to_owned()),
            ..self.replacing(word)
        });
    }

    fn snippet(&mut self, label: &str, detail: &str, snippet: &str) {
        self.add(lsp::CompletionItem {
            kind: Some(lsp::CompletionItemKind::Keyword),
            detail: Some(detail.to_owned()),
            sort_text: Some(format!("3{label}")),
            ..self.snippet_item(label, snippet)
        });
    }

    /// An item that inserts a snippet, or its label where the client takes none.
    fn snippet_item(&self, label: &str, snippet: &str) -> lsp::CompletionItem {
        if !self.snapshot.client.snippets {
            return self.replacing(label);
        }
        lsp::CompletionItem {
            label: label.to_owned(),
            insert_text_format: Some(lsp::InsertTextFormat::Snippet),
            ..self.item(snippet, self.cursor.word.clone())
        }
    }

    /// An item that takes the place of the word at the cursor.
    fn replacing(&self, text: &str) -> lsp::CompletionItem {
        self.item(text, self.cursor.word.clone())
    }

    fn item(&self, text: &str, range: std::ops::Range<usize>) -> lsp::CompletionItem {
        let edit = self.snapshot.edit(self.open, &Edit { range, text: text.to_owned() });
        lsp::CompletionItem { label: text.trim_end().to_owned(), text_edit: Some(edit.into()), ..Default::default() }
    }

    fn add(&mut self, item: lsp::CompletionItem) {
        self.all.push(item);
    }
}

fn markdown(value: String) -> lsp::Documentation {
    lsp::MarkupContent { kind: lsp::MarkupKind::Markdown, value }.into()
}
