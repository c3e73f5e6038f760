//! What can be folded: blocks, lists, and runs of comments.

use gen_lsp_types as lsp;
use memspec::lang::TokenKind;

use crate::server::positions::clamped;
use crate::server::snapshot::Snapshot;

pub(crate) fn handle(snapshot: &Snapshot, params: lsp::FoldingRangeParams) -> Option<Vec<lsp::FoldingRange>> {
    let open = snapshot.open(&params.text_document.uri)?;
    let tree = open.tree()?;
    let mut found = Vec::new();
    let mut opened = Vec::new();
    // The lines of a run of comments that goes on.
    let mut comments: Option<(usize, usize)> = None;
    let mut begins_line = true;
    for token in &tree.tokens {
        let line = open.lines.line(token.span.start);
        match token.kind {
            TokenKind::OpenBrace | TokenKind::OpenBracket => opened.push(line),
            TokenKind::CloseBrace | TokenKind::CloseBracket => {
                // The line of the closing sign stays in sight.
                let start = opened.pop().unwrap_or(line);
                found.extend(folded(start, line.saturating_sub(1), None));
            }
            TokenKind::Comment | TokenKind::Doc if begins_line => match &mut comments {
                Some((_, end)) if *end + 1 == line => *end = line,
                _ => {
                    let run = comments.replace((line, line));
                    found.extend(run.and_then(|(start, end)| folded(start, end, Some(lsp::FoldingRangeKind::Comment))));
                }
            },
            _ => {}
        }
        begins_line = match token.kind {
            TokenKind::Newline => true,
            TokenKind::Space => begins_line,
            _ => false,
        };
    }
    found.extend(comments.and_then(|(start, end)| folded(start, end, Some(lsp::FoldingRangeKind::Comment))));
    found.sort_by_key(|range| (range.start_line, range.end_line));
    Some(found)
}

fn folded(start: usize, end: usize, kind: Option<lsp::FoldingRangeKind>) -> Option<lsp::FoldingRange> {
    (end > start).then(|| lsp::FoldingRange {
        start_line: clamped(start),
        end_line: clamped(end),
        kind,
        ..Default::default()
    })
}
