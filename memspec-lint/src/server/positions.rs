//! From bytes to the protocol's lines and columns, and back.

use std::ops::Range;

use gen_lsp_types as lsp;

/// What a column counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Bytes.
    Utf8,
    /// UTF-16 code units, which is what a client means that says nothing.
    #[default]
    Utf16,
}

/// Where the lines of a text begin. A line ends with `\n`, `\r\n` or `\r`, as the protocol has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    /// The lines of a text.
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|&(at, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        Self { starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() }
    }

    /// The line that holds the byte.
    pub fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The line's bytes without its end.
    fn span(&self, text: &str, line: usize) -> Range<usize> {
        let start = self.starts[line];
        let end = self.starts.get(line + 1).copied().unwrap_or(text.len());
        start..start + text[start..end].trim_end_matches(['\r', '\n']).len()
    }

    /// The byte of a position; beyond the end of a line it is that end, beyond the last line the end of the text.
    pub fn offset(&self, text: &str, position: lsp::Position, encoding: Encoding) -> usize {
        let Some(line) = usize::try_from(position.line).ok().filter(|line| *line < self.starts.len()) else {
            return text.len();
        };
        let span = self.span(text, line);
        let wanted = position.character as usize;
        let mut column = 0;
        for (at, character) in text[span.clone()].char_indices() {
            column += encoding.width(character);
            // inside of a character is before it
            if column > wanted {
                return span.start + at;
            }
        }
        span.end
    }

    /// The position of a byte; inside of a character it is that of the character.
    pub fn position(&self, text: &str, offset: usize, encoding: Encoding) -> lsp::Position {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let line = self.line(offset);
        let before = &text[self.starts[line]..offset];
        let column: usize = before.chars().map(|character| encoding.width(character)).sum();
        lsp::Position { line: clamped(line), character: clamped(column) }
    }

    /// The range of a span of bytes.
    pub fn range(&self, text: &str, span: Range<usize>, encoding: Encoding) -> lsp::Range {
        let start = self.position(text, span.start, encoding);
        lsp::Range { start, end: self.position(text, span.end.max(span.start), encoding) }
    }
}

impl Encoding {
    /// The columns that a character takes.
    pub fn width(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
        }
    }
}

/// A number of the protocol.
pub(super) fn clamped(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = \"ä😀\"\r\nb\rc\n";

    fn check(encoding: Encoding, (line, character): (u32, u32), offset: usize) {
        let (lines, position) = (Lines::of(TEXT), lsp::Position { line, character });
        assert_eq!(lines.offset(TEXT, position, encoding), offset, "{line}:{character}");
        assert_eq!(lines.position(TEXT, offset, encoding), position, "byte {offset}");
    }

    #[test]
    fn columns_count_bytes_or_code_units() {
        check(Encoding::Utf8, (0, 7), 7);
        check(Encoding::Utf16, (0, 6), 7);
        check(Encoding::Utf8, (0, 11), 11);
        check(Encoding::Utf16, (0, 8), 11);
        for encoding in [Encoding::Utf8, Encoding::Utf16] {
            check(encoding, (1, 0), 14);
            check(encoding, (2, 1), 17);
            check(encoding, (3, 0), 18);
        }
    }

    #[test]
    fn a_position_that_is_nowhere_is_the_nearest_before_it() {
        let offset = |line, character| Lines::of(TEXT).offset(TEXT, lsp::Position { line, character }, Encoding::Utf16);
        // inside of the surrogate pair, behind the end of the line, behind the last line
        assert_eq!(offset(0, 7), 7);
        assert_eq!(offset(0, 99), 12);
        assert_eq!(offset(9, 9), TEXT.len());
    }
}
