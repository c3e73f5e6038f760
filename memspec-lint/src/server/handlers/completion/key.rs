//! Keys of another trainer's file, and the words that they take. Of lines alone, so that a file which is being written is understood where it is no YAML.

use std::collections::HashSet;
use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::exchange::foreign::{self, KnownKey, Says, Trainer};
use memspec::model;
use memspec::plan::Edit;
use serde_json::json;

use super::super::hover;
use super::markdown;
use crate::server::documents::Open;
use crate::server::snapshot::Snapshot;

/// What can be written at a byte; nothing for a text that is no trainer's, and none in JSON or in braces.
pub(super) fn items(snapshot: &Snapshot, open: &Open, offset: usize) -> Option<Vec<lsp::CompletionItem>> {
    let text = open.text();
    let name = &open.document.source.name;
    if name.ends_with(".mem") || name.ends_with(".json") || text.trim_start().starts_with('{') {
        return None;
    }
    let trainer = foreign::begun(text)?;
    let place = Line::at(text, offset)?;
    let item = |word: &str, typed: &str| {
        let edit = snapshot.edit(open, &Edit { range: place.word.clone(), text: typed.to_owned() });
        lsp::CompletionItem { label: word.to_owned(), text_edit: Some(edit.into()), ..Default::default() }
    };
    let Some(key) = &place.key else {
        let items = offered(trainer, &place).map(|(leaf, key)| lsp::CompletionItem {
            kind: Some(lsp::CompletionItemKind::Property),
            detail: Some(match key.says {
                Says::Setting(path) => path.to_owned(),
                _ => trainer.title().to_owned(),
            }),
            documentation: Some(markdown(hover::about(trainer, &key))),
            sort_text: Some(format!("{}{leaf}", if matches!(key.says, Says::Aside(_)) { 2 } else { 1 })),
            ..item(leaf, &format!("{leaf}: "))
        });
        return Some(items.collect());
    };
    if key == foreign::model_key(trainer) {
        return Some(model::catalog::names().into_iter().map(|name| item(name, name)).collect());
    }
    let known = foreign::known(trainer).find(|known| known.name == key);
    let path = known.and_then(|known| if let Says::Setting(path) = known.says { Some(path) } else { None });
    // what the peak would be is looked up when it is shown
    let path = path.filter(|_| !open.document.plans.is_empty());
    let items = foreign::words(trainer, key).into_iter().map(|(theirs, ours)| {
        let default = known.and_then(|known| known.default).filter(|default| *default == theirs);
        lsp::CompletionItem {
            kind: Some(lsp::CompletionItemKind::EnumMember),
            detail: default.map(|_| "default".to_owned()),
            data: path.map(|path| json!({"uri": open.uri.to_string(), "plan": 0, "path": path, "value": ours})),
            ..item(theirs, theirs)
        }
    });
    Some(items.collect())
}

/// The keys that can stand here and do not stand in the file, by their last names.
fn offered<'a>(trainer: Trainer, place: &'a Line<'_>) -> impl Iterator<Item = (&'static str, KnownKey)> + 'a {
    foreign::known(trainer).filter_map(|key| {
        let (parent, leaf) = key.name.rsplit_once('.').unwrap_or(("", key.name));
        let here = parent == place.parent && !place.beside.contains(leaf) && !matches!(key.says, Says::Former(_));
        here.then_some((leaf, key))
    })
}

/// What stands around a byte of a YAML text.
struct Line<'a> {
    /// The keys around it, with dots.
    parent: String,
    /// The keys of lines that are indented like it.
    beside: HashSet<&'a str>,
    /// The dotted key whose value is written.
    key: Option<String>,
    /// The word that is written.
    word: Range<usize>,
}

impl<'a> Line<'a> {
    /// None in a comment or a list.
    fn at(text: &'a str, offset: usize) -> Option<Self> {
        let start = text.get(..offset)?.rfind('\n').map_or(0, |at| at + 1);
        let before = &text[start..offset];
        let own = before.trim_start();
        if own.starts_with(['-', '#']) || before.contains(" #") {
            return None;
        }
        let indent = before.len() - own.len();
        let rest = &text[offset..];
        let end = offset + rest.find(|c: char| c.is_whitespace() || matches!(c, ':' | '#')).unwrap_or(rest.len());
        let parent = parent(&text[..start], indent);
        let (key, word) = match own.split_once(':') {
            Some((leaf, value)) if value.starts_with(' ') => {
                let leaf = leaf.trim_end();
                let key = if parent.is_empty() { leaf.to_owned() } else { format!("{parent}.{leaf}") };
                (Some(key), offset - value.trim_start().len()..end)
            }
            Some(_) => return None,
            None => (None, offset - own.len()..end),
        };
        let keys = text.lines().filter(|line| line.len() - line.trim_start().len() == indent);
        let beside = keys.filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
        Some(Self { parent, beside, key, word })
    }
}

/// The keys that the lines above open for one that is indented so.
fn parent(above: &str, mut indent: usize) -> String {
    let mut names = Vec::new();
    for line in above.lines().rev().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        if indent == 0 {
            break;
        }
        let own = line.len() - line.trim_start().len();
        if own < indent
            && let Some((name, _)) = line.trim().split_once(':')
        {
            names.push(name);
            indent = own;
        }
    }
    names.reverse();
    names.join(".")
}
