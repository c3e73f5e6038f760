//! The one style, as edits of the lines that change.

use std::ops::Range;

use gen_lsp_types as lsp;
use memspec::lang;
use memspec::plan::Edit;
use similar::TextDiff;

use crate::server::documents::Open;
use crate::server::snapshot::Snapshot;

/// All of a document.
pub(crate) fn handle(snapshot: &Snapshot, params: lsp::DocumentFormattingParams) -> Option<Vec<lsp::TextEdit>> {
    let open = snapshot.open(&params.text_document.uri)?;
    Some(edits(open)?.iter().map(|edit| snapshot.edit(open, edit)).collect())
}

/// The changes that touch a range.
pub(crate) fn range(snapshot: &Snapshot, params: lsp::DocumentRangeFormattingParams) -> Option<Vec<lsp::TextEdit>> {
    let open = snapshot.open(&params.text_document.uri)?;
    let wanted = snapshot.span(open, params.range);
    let touches = |edit: &Range<usize>| edit.start <= wanted.end && wanted.start <= edit.end;
    Some(edits(open)?.iter().filter(|edit| touches(&edit.range)).map(|edit| snapshot.edit(open, edit)).collect())
}

/// From a `.mem` text to its style: whole lines.
fn edits(open: &Open) -> Option<Vec<Edit>> {
    open.tree()?;
    let before = open.text();
    let after = lang::format(before);
    let diff = TextDiff::from_lines(before, after.as_str());
    let (old, new) = (starts(diff.old_slices()), starts(diff.new_slices()));
    let changed = diff.ops().iter().filter(|op| !matches!(op, similar::DiffOp::Equal { .. }));
    let edit = |op: &similar::DiffOp| {
        let (from, to) = (op.old_range(), op.new_range());
        Edit { range: old[from.start]..old[from.end], text: after[new[to.start]..new[to.end]].to_owned() }
    };
    Some(changed.map(edit).collect())
}

/// Where each line begins, and where the last one ends.
fn starts(lines: &[&str]) -> Vec<usize> {
    let mut at = 0;
    let mut starts = vec![0];
    starts.extend(lines.iter().map(|line| {
        at += line.len();
        at
    }));
    starts
}
