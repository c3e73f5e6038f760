//! Where a name is used.

use gen_lsp_types as lsp;

use crate::server::names::Names;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::ReferenceParams) -> Option<Vec<lsp::Location>> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let names = Names::of(open.tree()?);
    let (definition, _) = names.at(snapshot.offset(open, position.position))?;
    let own = params.context.include_declaration.then_some(&definition.name.span);
    let spans = own.into_iter().chain(&definition.uses);
    let location = |span: &std::ops::Range<usize>| lsp::Location {
        uri: open.uri.clone(),
        range: snapshot.range(open, span.clone()),
    };
    Some(spans.map(location).collect())
}
