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
//! - A bare word is a symbol of its setting, or else a name from `let`, or else, in arithmetic, a setting of the same
//!   block; those of others go by their dotted paths. `let` may not take the name of a symbol.
//! - `#` begins a comment, `##` documentation of what follows. `# memspec: allow(name) reason` allows findings.
//! - `profile` is a plan without a name of its own to run; `extends` merges it in, setting by setting, and what is written nearer wins.
//!   `import` brings the profiles and values of another file of the project.
//! - What is computed from other settings follows them, also when a plan overrides them or they have several values.
//! - `assert` compares settings and estimated figures.

mod body;
mod evaluate;
mod format;
mod inherit;
pub mod lexer;
mod lower;
mod parser;
mod project;
mod tokens;
pub mod tree;
mod write;

pub use format::format;
pub use lexer::{Token, TokenKind, lex};
pub use parser::parse;
pub use tree::Tree;
pub use write::write;

use crate::plan::{Document, Expression, Problem, Source};

/// Reads the plans of a `.mem` text. Imports are looked for beside the file that the source is called after.
pub fn read(source: Source) -> Document {
    read_among(source, &|_| None)
}

/// The same, with imports from these texts before those on disk.
pub(crate) fn read_among(source: Source, texts: project::Texts<'_>) -> Document {
    let tree = parse(&source.text);
    lower::lower(source, tree, &mut project::Project::among(texts)).0
}

/// Reads an expression whose settings go by their dotted paths.
pub(crate) fn read_expression(text: &str) -> Result<Expression, Box<Problem>> {
    let expr = parser::parse_expression(text)?;
    let mut scope = evaluate::Scope::new(text);
    let value = scope.expression(&expr);
    match (value, scope.problems.into_iter().next()) {
        (Some(expression), None) => Ok(expression),
        (_, Some(problem)) => Err(Box::new(problem)),
        (None, None) => Err(Box::new(Problem::new("wrong-type", 0..text.len(), "this is no expression"))),
    }
}
