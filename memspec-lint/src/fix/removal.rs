//! Taking a setting or block out of the text.

use memspec::exchange::foreign;
use memspec::plan::{Document, Edit, Spans};

/// What may stand between two statements.
const SEPARATORS: [char; 2] = [';', ','];

/// The edits that take a setting or block out of a plan: with its line or lines where it has them for itself, else with the
/// separator beside it. A block without a kind goes with its last setting. Of another trainer's file it is the key that says the setting.
///
/// Nothing comes back for a plan or path that is not there.
pub fn remove_setting(document: &Document, plan: usize, path: &str) -> Option<Vec<Edit>> {
    if document.foreign.is_some() {
        return foreign::remove(document, path).filter(|_| plan == 0).map(|edited| edited.edits);
    }
    let text = document.source.text.as_str();
    // what a profile says is not removed for one of its plans
    let spans = &document.plans.get(plan)?.spans.own();
    let path = path.split_once('.').filter(|(block, _)| is_alone(spans, block)).map_or(path, |(block, _)| block);
    let statement = &spans.get(path)?.statement;
    let written = text.get(statement.clone())?.trim_end_matches(|c: char| c.is_whitespace() || SEPARATORS.contains(&c));
    let (start, end) = (statement.start, statement.start + written.len());

    let line_start = document.source.line_start(start);
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at + 1);
    let rest = text[end..line_end].trim_start().trim_start_matches(SEPARATORS).trim();
    let followed = text[end..].trim_start().starts_with(SEPARATORS);
    let before = text[..start].trim_end();
    let last_of_list = before.ends_with(',') && !followed;
    let range = if last_of_list {
        // JSON: the comma before it goes, too.
        before.len() - 1..end
    } else if text[line_start..start].trim().is_empty() && (rest.is_empty() || rest.starts_with('#')) {
        line_start..line_end
    } else if followed {
        let behind = end + text[end..].find(SEPARATORS)? + 1;
        start..behind + (text[behind..].len() - text[behind..].trim_start_matches([' ', '\t']).len())
    } else if before.ends_with(';') {
        before.len() - 1..end
    } else {
        // The last of a block on one line: one of the spaces around it stays.
        let spaces = text[..start].ends_with(' ') && text[end..].starts_with(' ');
        start..end + usize::from(spaces)
    };
    Some(vec![Edit { range, text: String::new() }])
}

/// The block has one setting, and no kind that would stay.
fn is_alone(spans: &Spans, block: &str) -> bool {
    let inside = |path: &str| path.strip_prefix(block).is_some_and(|rest| rest.starts_with('.') && !rest.contains('['));
    spans.iter().filter(|(path, _)| inside(path)).count() == 1
}
