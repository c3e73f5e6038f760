//! The `.mem` language: blocks of settings, read without ever failing.
//!
//! Text goes through a total [`lexer`] (its tokens joined are the text), a total [`parse`]r (a tree, and the mistakes
//! beside it) and a lowering that checks the tree against the table of settings and makes typed plans.
//!
//! ```mem
//! mem 1                                   # the edition; may be left out
//!
//! let tokens = 2 * 1024tok                # arithmetic checks its units
//!
//! plan "tiny" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = cuda:0                       # a plain word, with a number after `:`; other names are quoted: "a100-80"
//!
//!   quantize nf4 { double = true; block = 64 }
//!   data   { context = tokens }
//!   train  { micro_batch = fit [8, 4, 2] }
//!   budget { device_memory <= 14.5GiB }
//! }
//! ```
//!
//! - A newline or `;` ends a statement; inside `[ ]` newlines are free.
//! - A bare word is a symbol of its setting, or else a name from `let`, or else, in arithmetic, a setting above it in the
//!   same block. `let` may not take the name of a symbol.
//! - `#` begins a comment, `##` documentation of what follows. `# memspec: allow(name) reason` allows findings.
//! - `import`, `profile`, `extends` and `assert` are parsed; reading reports that this version does not carry them out.

mod evaluate;
mod format;
pub mod lexer;
mod lower;
mod parser;
mod tokens;
pub mod tree;
mod write;

pub use format::format;
pub use lexer::{Token, TokenKind, lex};
pub use parser::parse;
pub use tree::Tree;
pub use write::write;

use crate::plan::{Document, Source};

/// Reads the plans of a `.mem` text.
pub fn read(source: Source) -> Document {
    let tree = parse(&source.text);
    lower::lower(source, tree)
}
