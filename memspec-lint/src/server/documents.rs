//! The open texts, each with what was read of it. A document never changes: an edit makes another.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use gen_lsp_types as lsp;
use memspec::exchange::foreign;
use memspec::lang::{self, Tree};
use memspec::model::Environment;
use memspec::plan::{Document, Source, real_path};
use url::Url;

use super::options::Options;
use super::positions::{Encoding, Lines};
use crate::config::Device;
use crate::output::Style;
use crate::{Context, Finding, Linter, Settings};

/// A document that an editor has open.
#[derive(Debug)]
pub(super) struct Open {
    /// What the client calls it.
    pub(super) uri: lsp::Uri,
    /// The file that it is the text of.
    pub(super) file: Option<PathBuf>,
    /// The client's number of this text.
    pub(super) version: i32,
    /// What was read of its text.
    pub(super) document: Document,
    /// It is for this server, which reads no other file.
    is_plan: bool,
    /// Where its lines are.
    pub(super) lines: Lines,
    /// What checks it.
    pub(super) linter: Linter,
    /// How often it was read, with this time.
    reading: u32,
    /// The same now.
    newest: Arc<AtomicU32>,
    tree: OnceLock<Tree>,
    /// Of each plan, the findings with fixes, once they were asked for.
    priced: Vec<OnceLock<Vec<Finding>>>,
}

impl Open {
    /// A document that was opened. Like those below, it is read among the open ones.
    pub(super) fn new(item: lsp::TextDocumentItem, linter: Linter, all: &Documents) -> Self {
        let source = Source { name: name(&item.uri, &item.language_id), text: item.text };
        Self::read(item.uri, item.version, source, linter, Arc::default(), all)
    }

    /// The document after an edit.
    pub(super) fn changed(
        &self,
        version: i32,
        changes: &[lsp::TextDocumentContentChangeEvent],
        encoding: Encoding,
        all: &Documents,
    ) -> Self {
        let text = apply_changes(self.text(), changes, encoding);
        let source = Source { name: self.document.source.name.clone(), text };
        Self::read(self.uri.clone(), version, source, self.linter.clone(), Arc::clone(&self.newest), all)
    }

    /// The same text, read anew by another linter.
    pub(super) fn by(&self, linter: Linter, all: &Documents) -> Self {
        let source = self.document.source.clone();
        Self::read(self.uri.clone(), self.version, source, linter, Arc::clone(&self.newest), all)
    }

    fn read(
        uri: lsp::Uri,
        version: i32,
        source: Source,
        linter: Linter,
        newest: Arc<AtomicU32>,
        all: &Documents,
    ) -> Self {
        let reading = newest.fetch_add(1, Ordering::AcqRel) + 1;
        let file = path(&uri).and_then(|path| real_path(&path));
        let lines = Lines::of(&source.text);
        let is_plan = is_plan(&source.name, &source.text);
        let document = if is_plan {
            linter.read_text_among(source.name, source.text, &|file| all.text(file))
        } else {
            Document { source, ..Document::default() }
        };
        let priced = document.plans.iter().map(|_| OnceLock::new()).collect();
        Self { uri, file, version, document, is_plan, lines, linter, reading, newest, tree: OnceLock::new(), priced }
    }

    /// The text.
    pub(super) fn text(&self) -> &str {
        &self.document.source.text
    }

    /// The tree of a `.mem` text.
    pub(super) fn tree(&self) -> Option<&Tree> {
        self.document.source.name.ends_with(".mem").then(|| self.tree.get_or_init(|| lang::parse(self.text())))
    }

    /// What is wrong with it.
    pub(super) fn findings(&self, context: &Context<'_>) -> Vec<Finding> {
        if self.is_plan { self.linter.findings(context) } else { Vec::new() }
    }

    /// The findings of a plan with their fixes; found by `find` the first time.
    pub(super) fn priced(&self, plan: usize, find: impl FnOnce() -> Vec<Finding>) -> &[Finding] {
        self.priced.get(plan).map_or(&[], |cell| cell.get_or_init(find))
    }

    /// Whether it was not read again since.
    pub(super) fn is_newest(&self) -> bool {
        self.newest.load(Ordering::Acquire) == self.reading
    }

    /// Says that it is no longer open.
    pub(super) fn close(&self) {
        self.newest.fetch_add(1, Ordering::AcqRel);
    }
}

/// Whether a text is for this server: a `.mem` text, or a YAML or JSON text with the keys of a plan or of a trainer that is known. Others have servers
/// of their own.
fn is_plan(name: &str, text: &str) -> bool {
    if name.ends_with(".mem") || foreign::begun(text).is_some() || foreign::detect(text).is_some() {
        return true;
    }
    // Line by line: while it is written, it may be no YAML at all.
    let json = name.ends_with(".json");
    let key = |line: &str| {
        let line = if json { line.trim_start_matches(['{', ' ', '\t']) } else { line };
        let (key, _) = line.split_once(':')?;
        Some(key.trim().trim_matches(['"', '\'']).to_owned())
    };
    let keys: Vec<String> = text.lines().filter_map(key).collect();
    let has = |wanted: &str| keys.iter().any(|key| key == wanted);
    has("plans") || has("name") && ["model", "train", "adapter", "quantize"].into_iter().any(has)
}

/// The file of a URI.
pub(super) fn path(uri: &lsp::Uri) -> Option<PathBuf> {
    Url::parse(uri.as_ref()).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

/// The URI of a file.
pub(super) fn uri(path: &Path) -> Option<lsp::Uri> {
    Some(Url::from_file_path(std::path::absolute(path).ok()?).ok()?.to_string().into())
}

/// What a document goes by in reports; its extension says what it is written in.
fn name(uri: &lsp::Uri, language: &lsp::LanguageKind) -> String {
    let name = path(uri).map_or_else(|| uri.to_string(), |path| path.display().to_string());
    let known = ["mem", "yaml", "yml", "json"];
    let extension = Path::new(&name).extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
    if extension.is_some_and(|extension| known.contains(&extension.as_str())) {
        return name;
    }
    // A buffer without a file, or a file of another name, is what the editor says.
    let extension = match language {
        lsp::LanguageKind::YAML => "yaml",
        lsp::LanguageKind::JSON => "json",
        _ => "mem",
    };
    format!("{name}.{extension}")
}

/// What checks a document: as its folder's `memspec.toml` says, and then the editor. Beside it, what is wrong with that file.
pub(super) fn linter(uri: &lsp::Uri, environment: &Environment, options: &Options) -> (Linter, Option<String>) {
    let path = path(uri);
    let (mut settings, mistakes) = match path.as_deref().map(Settings::for_file) {
        Some(Ok(settings)) => (settings, None),
        Some(Err(mistakes)) => (Settings::default(), Some(mistakes.render(Style::PLAIN))),
        None => (Settings::default(), None),
    };
    let defaults = &mut settings.defaults;
    defaults.device = defaults.device.take().or_else(|| options.device.clone().map(Device::Unnamed));
    (Linter::beside(path.unwrap_or_default(), environment.clone()).with(settings), mistakes)
}

/// The text after an editor's changes, each made to what the one before it left.
pub fn apply_changes(text: &str, changes: &[lsp::TextDocumentContentChangeEvent], encoding: Encoding) -> String {
    use lsp::TextDocumentContentChangeEvent as Change;
    let mut text = text.to_owned();
    for change in changes {
        match change {
            Change::TextDocumentContentChangeWholeDocument(whole) => text.clone_from(&whole.text),
            Change::TextDocumentContentChangePartial(part) => {
                let lines = Lines::of(&text);
                let start = lines.offset(&text, part.range.start, encoding);
                let end = lines.offset(&text, part.range.end, encoding);
                text.replace_range(start..end.max(start), &part.text);
            }
        }
    }
    text
}

/// The open documents.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents {
    open: HashMap<lsp::Uri, Arc<Open>>,
}

impl Documents {
    /// The document of that name.
    pub(super) fn get(&self, uri: &lsp::Uri) -> Option<&Arc<Open>> {
        self.open.get(uri)
    }

    /// Every one.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Open>> {
        self.open.values()
    }

    /// The text of a file, where that is open.
    pub(super) fn text(&self, file: &Path) -> Option<String> {
        let open = self.iter().find(|open| open.file.as_deref() == Some(file))?;
        Some(open.text().to_owned())
    }

    /// Those that import a file, directly or through others.
    pub(super) fn importers(&self, file: &Path) -> Vec<Arc<Open>> {
        let imports = |open: &&Arc<Open>| open.document.imports.iter().any(|import| import == file);
        self.iter().filter(imports).cloned().collect()
    }

    /// Puts a document in the place of the one of its name.
    pub(super) fn put(&mut self, open: Open) -> Arc<Open> {
        let open = Arc::new(open);
        self.open.insert(open.uri.clone(), Arc::clone(&open));
        open
    }

    /// Takes a document away.
    pub(super) fn close(&mut self, uri: &lsp::Uri) {
        if let Some(open) = self.open.remove(uri) {
            open.close();
        }
    }
}
