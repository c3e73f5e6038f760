//! Another name for what a text defines, everywhere in it.

use std::collections::HashMap;
use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::lang::{TokenKind, lex};
use memspec::plan::{Edit, Plan};

use crate::server::names::Names;
use crate::server::snapshot::Snapshot;

/// Whether there is something to rename, and what of the text that is.
pub(crate) fn prepare(snapshot: &Snapshot, params: lsp::PrepareRenameParams) -> Option<lsp::PrepareRenameResult> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let names = Names::of(open.tree()?);
    let (_, word) = names.at(snapshot.offset(open, position.position))?;
    Some(snapshot.range(open, word).into())
}

/// The edits.
///
/// # Errors
/// A new name that is no word, or means something already.
pub(crate) fn handle(snapshot: &Snapshot, params: lsp::RenameParams) -> Result<Option<lsp::WorkspaceEdit>, String> {
    let position = params.text_document_position_params;
    let Some(open) = snapshot.open(&position.text_document.uri) else { return Ok(None) };
    let Some(tree) = open.tree() else { return Ok(None) };
    let names = Names::of(tree);
    let Some((definition, _)) = names.at(snapshot.offset(open, position.position)) else {
        return Err("nothing here can be renamed: names of `let` and `profile` can".to_owned());
    };
    let new = params.new_name.trim();
    if !matches!(lex(new).as_slice(), [token] if token.kind == TokenKind::Word) {
        return Err(format!("`{new}` is not a name: letters, digits and `_`, and no digit first"));
    }
    if is_symbol(new) {
        return Err(format!("`{new}` is a word of the language"));
    }
    if names.definitions.iter().any(|other| other.kind == definition.kind && other.name.text == new) {
        return Err(format!("`{new}` is defined already"));
    }
    let spans = std::iter::once(&definition.name.span).chain(&definition.uses);
    let edit = |span: &Range<usize>| snapshot.edit(open, &Edit { range: span.clone(), text: new.to_owned() });
    let changes = HashMap::from([(open.uri.clone(), spans.map(edit).collect())]);
    Ok(Some(lsp::WorkspaceEdit { changes: Some(changes), ..Default::default() }))
}

/// Whether some setting takes the word, so that it cannot be a name.
fn is_symbol(word: &str) -> bool {
    let blocks = std::iter::once(&Plan::SPEC).chain(Plan::SPEC.blocks);
    let symbols = blocks.flat_map(|block| block.settings).flat_map(|setting| setting.kind.symbols());
    symbols.map(|symbol| symbol.name).chain(["true", "false", "fit", "sweep"]).any(|symbol| symbol == word)
}
