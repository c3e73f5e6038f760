//! Where a name is defined.

use gen_lsp_types as lsp;

use crate::server::names::Names;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::DefinitionParams) -> Option<lsp::DefinitionResponse> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let names = Names::of(open.tree()?);
    let (definition, _) = names.at(snapshot.offset(open, position.position))?;
    let range = snapshot.range(open, definition.name.span.clone());
    Some(lsp::Definition::Location(lsp::Location { uri: open.uri.clone(), range }).into())
}
