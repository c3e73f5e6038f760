//! Links: a model's card on the hub, and files that are there.

use gen_lsp_types as lsp;
use memspec::plan::Spans;

use crate::server::documents::{self, Open};
use crate::server::names::Names;
use crate::server::snapshot::Snapshot;

/// Settings that are paths.
const PATHS: &[&str] = &["weights", "data.path", "data.eval_path", "data.template"];

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::DocumentLinkParams) -> Option<Vec<lsp::DocumentLink>> {
    let open = snapshot.open(&params.text_document.uri)?;
    let base = open.linter.base();
    let mut links = Vec::new();
    for written in &open.document.plans {
        let mut link = |path: &str, target: Option<lsp::Uri>, tooltip: &str| {
            let Some((span, target)) = value(&written.spans, path).zip(target) else { return };
            links.push(lsp::DocumentLink {
                range: snapshot.range(open, span),
                target: Some(target),
                tooltip: Some(tooltip.to_owned()),
                data: None,
            });
        };
        if let Some(name) = text(open, &written.spans, "model") {
            let local = base.join(name);
            if local.exists() {
                link("model", documents::uri(&local), "the model's files");
            } else {
                link("model", card(name), "the model's card");
            }
        }
        for path in PATHS {
            let file = text(open, &written.spans, path).map(|name| base.join(name)).filter(|file| file.is_file());
            link(path, file.and_then(|file| documents::uri(&file)), "the file");
        }
    }
    for (file, span) in open.tree().map(|tree| Names::of(tree).files).unwrap_or_default() {
        let target = Some(base.join(file)).filter(|file| file.is_file()).and_then(|file| documents::uri(&file));
        links.extend(target.map(|target| lsp::DocumentLink {
            range: snapshot.range(open, span),
            target: Some(target),
            tooltip: Some("the file".to_owned()),
            data: None,
        }));
    }
    Some(links)
}

/// The page of a hub name.
pub(super) fn card(name: &str) -> Option<lsp::Uri> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let (organisation, model) = name.split_once('/')?;
    (part(organisation) && part(model)).then(|| format!("https://huggingface.co/{name}").into())
}

/// Where the value of a setting that has one is.
fn value(spans: &Spans, path: &str) -> Option<std::ops::Range<usize>> {
    spans.get(path).map(|place| place.value.clone())
}

/// That value without its quotes.
fn text<'a>(open: &'a Open, spans: &Spans, path: &str) -> Option<&'a str> {
    let written = open.text().get(value(spans, path)?)?.trim_matches(['"', '\'']);
    (!written.is_empty() && !written.contains(['[', '{', '\n'])).then_some(written)
}
