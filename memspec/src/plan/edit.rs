//! Edits of a plan's text, and making them.

use std::ops::Range;

/// A replacement of a part of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced; empty to insert.
    pub range: Range<usize>,
    /// By what.
    pub text: String,
}

impl Edit {
    /// The text with the edit made. Ranges outside the text or inside a character leave it as it is.
    pub fn apply(&self, text: &str) -> String {
        match (text.get(..self.range.start), text.get(self.range.end..)) {
            (Some(before), Some(after)) if self.range.start <= self.range.end => {
                format!("{before}{}{after}", self.text)
            }
            _ => text.to_owned(),
        }
    }
}

/// The text with all edits made, or nothing where two of them touch the same place.
pub fn apply(text: &str, edits: &[Edit]) -> Option<String> {
    let mut ordered: Vec<&Edit> = edits.iter().collect();
    ordered.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for edit in ordered {
        if edit.range.start < at {
            return None;
        }
        out.push_str(text.get(at..edit.range.start)?);
        out.push_str(&edit.text);
        at = edit.range.end;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(start: usize, end: usize, text: &str) -> Edit {
        Edit { range: start..end, text: text.into() }
    }

    #[test]
    fn edits_are_applied_in_any_order_and_never_over_each_other() {
        assert_eq!(apply("abcdef", &[edit(4, 5, "E"), edit(0, 1, "A")]).as_deref(), Some("AbcdEf"));
        assert_eq!(apply("abc", &[edit(1, 1, "x"), edit(1, 1, "y")]).as_deref(), Some("axybc"));
        assert_eq!(apply("abcdef", &[edit(0, 3, ""), edit(2, 4, "")]), None);
        assert_eq!(apply("abc", &[edit(2, 9, "")]), None);
        assert_eq!(apply("é", &[edit(1, 2, "")]), None);
    }
}
