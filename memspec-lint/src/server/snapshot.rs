//! What a handler sees: the documents as they are now, and costs by plan. Cheap to copy, so that it goes to other threads.

use std::ops::Range;
use std::sync::Arc;

use gen_lsp_types as lsp;
use memspec::plan::Plan;

use super::documents::{self, Documents, Open};
use super::memo::Memo;
use super::options::Options;
use super::positions::Encoding;
use crate::context::{Context, Repairs};

/// The server's state at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    pub(super) documents: Arc<Documents>,
    pub(super) memo: Arc<Memo>,
    pub(super) options: Arc<Options>,
    pub(super) encoding: Encoding,
    pub(super) client: Client,
}

/// What the client can do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Client {
    /// It asks for diagnostics itself.
    pub(super) pulls: bool,
    /// It asks for the edit of a code action when it is chosen.
    pub(super) resolves_edits: bool,
    /// It makes files where an edit says so.
    pub(super) creates_files: bool,
    /// It takes snippets.
    pub(super) snippets: bool,
    /// It can be told to ask again for diagnostics, lenses and hints.
    pub(super) refreshes: [bool; 3],
}

impl Snapshot {
    /// The same with costs of those plans of which everything is known, and of one that nothing has to be known of.
    pub(super) fn known_context<'a>(&self, open: &'a Open, also: Option<&Plan>) -> Context<'a> {
        let costs = |plan: &Plan, base: &_, environment: &_| {
            if Some(plan) == also {
                self.memo.costs(plan, base, environment)
            } else {
                self.memo.ready_costs(plan, base)
            }
        };
        Context { repairs: Repairs::None, ..open.linter.context_with(&open.document, costs) }
    }

    /// An open document.
    pub(super) fn open(&self, uri: &lsp::Uri) -> Option<&Arc<Open>> {
        self.documents.get(uri)
    }

    /// What rules see of a document, with costs from memory where they are known.
    pub(super) fn context<'a>(&self, open: &'a Open, repairs: Repairs) -> Context<'a> {
        let costs = |plan: &_, base: &_, environment: &_| self.memo.costs(plan, base, environment);
        Context { repairs, ..open.linter.context_with(&open.document, costs) }
    }

    /// Another file as this document's plans see it: its URI and text. What is open goes before what is on disk.
    pub(super) fn beside(&self, open: &Open, file: &str) -> Option<(lsp::Uri, String)> {
        let path = open.linter.base().join(file);
        let uri = documents::uri(&path)?;
        let text = match self.open(&uri) {
            Some(other) => other.text().to_owned(),
            None => std::fs::read_to_string(path).ok()?,
        };
        Some((uri, text))
    }

    /// The byte of a position.
    pub(super) fn offset(&self, open: &Open, position: lsp::Position) -> usize {
        open.lines.offset(open.text(), position, self.encoding)
    }

    /// The bytes of a range.
    pub(super) fn span(&self, open: &Open, range: lsp::Range) -> Range<usize> {
        let start = self.offset(open, range.start);
        start..self.offset(open, range.end).max(start)
    }

    /// The position of a byte.
    pub(super) fn position(&self, open: &Open, offset: usize) -> lsp::Position {
        open.lines.position(open.text(), offset, self.encoding)
    }

    /// The range of bytes.
    pub(super) fn range(&self, open: &Open, span: Range<usize>) -> lsp::Range {
        open.lines.range(open.text(), span, self.encoding)
    }

    /// An edit of a document's text.
    pub(super) fn edit(&self, open: &Open, edit: &memspec::plan::Edit) -> lsp::TextEdit {
        lsp::TextEdit { range: self.range(open, edit.range.clone()), new_text: edit.text.clone() }
    }
}
