//! Edits without end: whatever is typed, the server knows the same as one that reads the text for the first time.

use serde_json::{Value, json};

use crate::client::Client;

/// A number that looks random, the same in every run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// 0 to `sides` - 1.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

/// What is typed: characters, words, and what breaks a text.
const PIECES: &[&str] = &[
    "",
    "",
    "",
    " ",
    "\n",
    "\r\n",
    "\r",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "#",
    "# memspec: allow(thin-headroom) x\n",
    "=",
    " = ",
    "<= ",
    "1",
    "8",
    "0",
    "tok",
    "GiB",
    "ä",
    "😀",
    "fit [4, 2]",
    "sweep [1, 2]",
    "let x = 2\n",
    "plan \"q\" {\n",
    "profile p {\n",
    "train {",
    "micro_batch = 2\n",
    "checkpointing = block",
    "t4",
    "a100-80",
    "x",
    "nf4",
    "adapter lora { rank = 8 }\n",
    "import \"a.mem\" as a\n",
    ": ",
    "\n- ",
    "base_model: m\n",
    "adapter: lora\n",
    "lora_r: 8\n",
    "load_in_4bit: true\n",
    "  ",
    "assert",
    "##",
    "\u{feff}",
];

/// A text being edited, at random.
pub(crate) struct Typist {
    pub(crate) dice: Dice,
    pub(crate) text: String,
}

impl Typist {
    /// The next edit, as the protocol has it; the text is then what it will be.
    pub(crate) fn edit(&mut self) -> Value {
        let at = |text: &str, mut at: usize| {
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let from = at(&self.text, self.dice.roll(self.text.len() + 1));
        let length = [0, 0, 1, 1, 3, 9][self.dice.roll(6)];
        let to = at(&self.text, (from + length).min(self.text.len())).max(from);
        // a text that only grows would be all the same in the end
        let piece = if self.text.len() > 4000 { "" } else { PIECES[self.dice.roll(PIECES.len())] };
        let range = json!({"start": position(&self.text, from), "end": position(&self.text, to)});
        // between the two bytes of a line end there is no position
        let (from, to) = (snap(&self.text, from), snap(&self.text, to));
        self.text.replace_range(from..to.max(from), piece);
        json!({"range": range, "text": piece})
    }
}

/// Line and UTF-16 column, counted as an editor counts them: character by character.
fn position(text: &str, offset: usize) -> Value {
    let (mut line, mut column) = (0, 0);
    let mut characters = text[..snap(text, offset)].chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' | '\n' => (line, column) = (line + 1, 0),
            other => column += other.len_utf16(),
        }
    }
    json!({"line": line, "character": column})
}

/// Not between `\r` and `\n`.
fn snap(text: &str, offset: usize) -> usize {
    if text[..offset].ends_with('\r') && text[offset..].starts_with('\n') { offset - 1 } else { offset }
}

/// All that is asked about a text, and each answer.
pub(crate) fn state(client: &mut Client, uri: &str, version: i64, at: &Value) -> Vec<(String, Value)> {
    let document = json!({"uri": uri});
    let all = json!({"start": {"line": 0, "character": 0}, "end": {"line": 99_999, "character": 0}});
    let place = json!({"textDocument": document, "position": at});
    let whole = json!({"textDocument": document, "range": all, "options": {"tabSize": 2, "insertSpaces": true}});
    let mut answers = vec![("diagnostics".to_owned(), client.diagnostics(uri, version))];
    let asked = [
        ("textDocument/hover", &place),
        ("textDocument/completion", &place),
        ("textDocument/definition", &place),
        ("textDocument/prepareRename", &place),
        ("textDocument/codeLens", &whole),
        ("textDocument/inlayHint", &whole),
        ("textDocument/documentSymbol", &whole),
        ("textDocument/foldingRange", &whole),
        ("textDocument/semanticTokens/full", &whole),
        ("textDocument/documentLink", &whole),
        ("textDocument/formatting", &whole),
    ];
    answers.extend(asked.map(|(method, params)| (method.to_owned(), client.request(method, params.clone()))));
    answers
}
