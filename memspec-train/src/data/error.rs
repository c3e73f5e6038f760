//! What can be wrong with a data set. Each message names the file, and the line where there is one.

use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;
use std::io;
use std::path::PathBuf;

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file is missing or may not be read.
    #[error("{}: {source}; check `path` in the plan's `data` block", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A file of another kind.
    #[error("{}: {found}; write one JSON record a line (JSONL){help}", path.display())]
    NotLines {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: &'static str,
        /// How to convert it.
        help: &'static str,
    },
    /// No record in the file.
    #[error("{}: the data set is empty; write one JSON record a line", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line that cannot be used.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: Box<LineProblem>,
    },
    /// The format needs something that the model does not have.
    #[error(transparent)]
    Template(#[from] TemplateError),
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineProblem {
    /// Bytes that are no text.
    #[error("not UTF-8 (byte {at} of the line); convert the file to UTF-8")]
    NotUtf8 {
        /// Offset in the line.
        at: usize,
    },
    /// A line without an end.
    #[error("the line is longer than {most} bytes; is this JSONL, one record a line?")]
    TooLong {
        /// The most that is read.
        most: usize,
    },
    /// No JSON object.
    #[error("not a JSON object: {reason}; repair or remove the line")]
    Json {
        /// The parser's reason.
        reason: String,
    },
    /// A record of an unknown kind.
    #[error(
        "the record's keys are {keys}, which no format has; known are `messages` or `conversations` (chat), `instruction` and `output`, or `prompt` and `completion` (instruction), `text` (text)"
    )]
    UnknownFormat {
        /// The keys.
        keys: String,
    },
    /// A record that is not of the data set's format.
    #[error("not a record of the format `{format}`: {reason}")]
    Record {
        /// The format's name.
        format: &'static str,
        /// What is missing or wrong.
        reason: String,
    },
    /// Nothing for the loss in a conversation.
    #[error(
        "the conversation has no assistant turn, so nothing would be learned from it; remove the line, or set `loss_on = all`"
    )]
    NoAssistant,
    /// A template that writes a turn otherwise when others follow.
    #[error(
        "the chat template writes the beginning of the conversation otherwise when turn {turn} follows, so the assistant's words cannot be told apart; set `loss_on = all`, or `template` to another one"
    )]
    PrefixDiffers {
        /// The turn, counted from 1.
        turn: usize,
    },
    /// All that the loss counts lies beyond the context.
    #[error(
        "nothing to learn from in the first {context} of the sample's {tokens} tokens; raise `context` or remove the line"
    )]
    NothingScored {
        /// The limit.
        context: usize,
        /// Tokens of the sample.
        tokens: usize,
    },
    /// A sample without two tokens.
    #[error("the record is empty: a sample needs two tokens at least")]
    NoTokens,
    /// The template refuses the conversation.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The tokenizer refuses the text.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}
