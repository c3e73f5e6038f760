//! What stands around a place of a `.mem` text. Of tokens alone, so that a text which is being written is understood where its tree is not.

use std::ops::Range;

use memspec::lang::{Token, TokenKind};
use memspec::plan::Plan;

/// A place in a text that something is written at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cursor<'a> {
    /// The open blocks, from the outside: `["plan", "train"]`; empty outside of plans.
    pub(super) blocks: Vec<&'a str>,
    /// The words and signs of the statement before the place.
    pub(super) before: Vec<(TokenKind, &'a str)>,
    /// What is being written: a word, a number, a text with its quotes; empty between them.
    pub(super) word: Range<usize>,
    /// It is in quotes.
    pub(super) quoted: bool,
    /// The comment that the place is in.
    pub(super) comment: Option<Range<usize>>,
}

impl<'a> Cursor<'a> {
    /// The place at a byte.
    pub(super) fn at(text: &'a str, tokens: &[Token], offset: usize) -> Self {
        let mut reader = Reader { text, blocks: Vec::new(), statement: Vec::new(), brackets: 0 };
        let mut cursor =
            Cursor { blocks: Vec::new(), before: Vec::new(), word: offset..offset, quoted: false, comment: None };
        for (n, token) in tokens.iter().enumerate().take_while(|(_, token)| token.span.start < offset) {
            use TokenKind::{Comment, Doc, Number, OpenText, Quantity, Text, Word};
            let touches = token.span.end >= offset;
            match token.kind {
                // its last character is no end: more can be written to it
                Comment | Doc if touches => cursor.comment = Some(token.span.clone()),
                Text if token.span.end == offset => reader.read(token, &tokens[n + 1..]),
                Word | Number | Quantity | Text | OpenText if touches => {
                    cursor.word = token.span.clone();
                    cursor.quoted = matches!(token.kind, Text | OpenText);
                }
                _ => reader.read(token, &tokens[n + 1..]),
            }
        }
        Cursor { blocks: reader.blocks, before: reader.statement, ..cursor }
    }

    /// The block that the place is in: `plan` or one of its blocks.
    pub(super) fn block(&self) -> Option<&'a str> {
        self.blocks.last().copied()
    }

    /// What is assigned or limited, where the place is behind its sign.
    pub(super) fn setting(&self) -> Option<&'a str> {
        let sign = |kind: TokenKind| matches!(kind, TokenKind::Assign | TokenKind::Comparison);
        match self.before.as_slice() {
            [(TokenKind::Word, name), (kind, _), ..] if sign(*kind) => Some(name),
            _ => None,
        }
    }

    /// The first word of the statement.
    pub(super) fn first(&self) -> Option<&'a str> {
        self.before.first().filter(|(kind, _)| *kind == TokenKind::Word).map(|(_, word)| *word)
    }
}

struct Reader<'a> {
    text: &'a str,
    blocks: Vec<&'a str>,
    statement: Vec<(TokenKind, &'a str)>,
    brackets: usize,
}

impl<'a> Reader<'a> {
    fn read(&mut self, token: &Token, rest: &[Token]) {
        let word = &self.text[token.span.clone()];
        match token.kind {
            kind if kind.is_trivia() => return,
            TokenKind::Newline | TokenKind::Semicolon => {
                if self.brackets == 0 {
                    self.statement.clear();
                }
                return;
            }
            TokenKind::OpenBrace => {
                self.blocks.push(self.statement.first().map_or("", |(_, word)| *word));
                self.statement.clear();
                self.brackets = 0;
                return;
            }
            TokenKind::CloseBrace => {
                self.blocks.pop();
                self.statement.clear();
                self.brackets = 0;
                return;
            }
            TokenKind::OpenBracket | TokenKind::OpenParen => self.brackets += 1,
            TokenKind::CloseBracket | TokenKind::CloseParen => self.brackets = self.brackets.saturating_sub(1),
            TokenKind::Word => self.recover(token, rest),
            _ => {}
        }
        self.statement.push((token.kind, word));
    }

    /// Closes what was left open where the word can only stand outside of it, as the parser does.
    fn recover(&mut self, token: &Token, rest: &[Token]) {
        let mut next = rest.iter().filter(|token| token.kind != TokenKind::Space).map(|token| token.kind);
        let (first, second) = (next.next(), next.next());
        let word = &self.text[token.span.clone()];
        let begins_line = self.text[..token.span.start].trim_end_matches([' ', '\t']).ends_with('\n');
        if self.brackets > 0 && begins_line && first == Some(TokenKind::Assign) {
            self.brackets = 0;
            self.statement.clear();
        }
        if !self.statement.is_empty() {
            return;
        }
        let opens = first == Some(TokenKind::OpenBrace)
            || matches!(first, Some(TokenKind::Word | TokenKind::Text)) && second == Some(TokenKind::OpenBrace);
        if matches!(word, "plan" | "profile") && matches!(first, Some(TokenKind::Text | TokenKind::Word)) {
            self.blocks.clear();
        } else if opens && self.blocks.len() > 1 && Plan::SPEC.block(word).is_some() {
            self.blocks.truncate(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use memspec::lang::lex;

    use super::*;

    /// The place of `|`, as blocks, the statement before it, and the word.
    fn check(marked: &str, expected: &str) {
        let offset = marked.find('|').unwrap();
        let text = marked.replacen('|', "", 1);
        let cursor = Cursor::at(&text, &lex(&text), offset);
        let before: Vec<_> = cursor.before.iter().map(|(_, word)| *word).collect();
        let found = format!("{} / {} / {}", cursor.blocks.join(" "), before.join(" "), &text[cursor.word]);
        assert_eq!(found, expected, "{marked}");
    }

    #[test]
    fn blocks_statement_and_word() {
        check("|", " /  / ");
        check("plan \"p\" {\n  mod|el = \"m\"\n}", "plan /  / model");
        check("plan \"p\" {\n  model = \"m|\"\n}", "plan / model = / \"m\"");
        check("plan \"p\" {\n  adapter lo|ra { }\n}", "plan / adapter / lora");
        check("plan \"p\" { train { optimizer = | } }", "plan train / optimizer = / ");
        check("plan \"p\" { train { micro_batch = fit [4,\n 2|] } }", "plan train / micro_batch = fit [ 4 , / 2");
        check("plan \"p\" { train { } }\n|", " /  / ");
    }

    #[test]
    fn what_is_not_closed_yet_is_closed_by_what_follows() {
        check("plan \"p\" {\n  train {\n    loss = \n  data { con|", "plan data /  / con");
        check("plan \"p\" {\n  train {\nplan \"q\" {\n  |", "plan /  / ");
        check("plan \"p\" {\n  train {\n    micro_batch = fit [4, 2\n    loss = |", "plan train / loss = / ");
        check("plan \"p\" { device = \"a10|", "plan / device = / \"a10");
    }
}
