//! Where a name is defined, here or in a file that is imported.

use gen_lsp_types as lsp;
use memspec::lang;

use crate::server::documents::Open;
use crate::server::names::Names;
use crate::server::positions::Lines;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::DefinitionParams) -> Option<lsp::DefinitionResponse> {
    let position = params.text_document_position_params;
    let open = snapshot.open(&position.text_document.uri)?;
    let offset = snapshot.offset(open, position.position);
    let names = Names::of(open.tree()?);
    let location = elsewhere(snapshot, open, &names, offset).or_else(|| {
        let (definition, _) = names.at(offset)?;
        let range = snapshot.range(open, definition.name.span.clone());
        Some(lsp::Location { uri: open.uri.clone(), range })
    });
    Some(lsp::Definition::Location(location?).into())
}

/// The file that is imported, or the place in it.
fn elsewhere(snapshot: &Snapshot, open: &Open, names: &Names, offset: usize) -> Option<lsp::Location> {
    let holds = |span: &std::ops::Range<usize>| span.start <= offset && offset <= span.end;
    if let Some((file, _)) = names.files.iter().find(|(_, span)| holds(span)) {
        let (uri, _) = snapshot.beside(open, file)?;
        return Some(lsp::Location { uri, range: lsp::Range::default() });
    }
    let member = names.members.iter().find(|member| holds(&member.span))?;
    let (uri, text) = snapshot.beside(open, &member.file)?;
    let there = Names::of(&lang::parse(&text));
    let found = there.definitions.iter().find(|definition| definition.name.text == member.name)?;
    let range = Lines::of(&text).range(&text, found.name.span.clone(), snapshot.encoding);
    Some(lsp::Location { uri, range })
}
