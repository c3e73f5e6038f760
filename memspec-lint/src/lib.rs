//! The linter of memspec: does a plan fit, what is its peak made of, and what would repair it.
//!
//! ```
//! use memspec_lint::{Linter, fix};
//!
//! let document = memspec::plan::read_text(
//!     "tiny.mem",
//!     r#"
//!     plan "tiny" {
//!       model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!       device = t4
//!       adapter lora { rank = 16 }
//!       data { context = 1024tok }
//!       train { micro_batch = 8 }
//!       budget { device_memory <= 2GiB }
//!     }
//!     "#,
//! );
//! let linter = Linter::new("", Default::default());
//! let findings = linter.check(&document);
//! assert_eq!(findings[0].rule, "peak-over-budget");
//!
//! let fixed = fix::fix(&linter, document, fix::Applicability::Safe);
//! assert!(fixed.findings.iter().all(|finding| finding.rule != "peak-over-budget"));
//! ```
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`diagnostic`] | what a rule says: [`Finding`] with places, notes and fixes |
//! | [`fix`] | edits of a plan's text, and applying them |
//! | [`registry`] | every rule, and its page |
//! | [`repair`] | changes that make a plan fit |
//! | [`rules`] | the rules, one a file |
//! | [`lengths`] | how long a local file's samples are |
//! | [`context`] | what a rule sees of a document |
//! | [`suppress`] | `# memspec: allow(rule) reason` |
//! | [`tables`] | the guide's tables, computed beside its claims |
//! | [`output`] | findings and estimates as reports, JSON and tables |
//! | [`accuracy`] | predictions beside measured runs |
//! | [`cli`] | the command `memspec-lint` |
//!
//! A rule never prints; it returns findings. A program with plans of its own reports on them through [`diagnostic`] and
//! [`output`].

pub mod accuracy;
pub mod cli;
pub mod context;
pub mod diagnostic;
pub mod fix;
pub mod lengths;
pub mod output;
pub mod registry;
pub mod repair;
pub mod rules;
pub mod suppress;
pub mod tables;

use std::path::{Path, PathBuf};

use memspec::model::{Environment, Measure};
use memspec::plan::Document;

pub use context::Context;
pub use diagnostic::{Finding, Label, Severity};
pub use fix::{Applicability, Fix};
pub use registry::Rule;

/// Checks documents against every rule.
#[derive(Clone, Debug, Default)]
pub struct Linter {
    base: PathBuf,
    environment: Environment,
}

impl Linter {
    /// A linter of plans whose paths are relative to `base`, with models looked up in `environment`.
    pub fn new(base: impl Into<PathBuf>, environment: Environment) -> Self {
        Self { base: base.into(), environment }
    }

    /// A linter for the plans of a file: their paths are relative to its folder, and models are looked up where this
    /// process's variables say. Local data are counted (see [`lengths`]).
    pub fn for_file(path: impl AsRef<Path>) -> Self {
        let base = path.as_ref().parent().map(Path::to_path_buf).unwrap_or_default();
        Self::new(base, Environment { measure: Some(Measure(lengths::measure)), ..Environment::from_process() })
    }

    /// What every rule sees of a document.
    pub fn context<'a>(&'a self, document: &'a Document) -> Context<'a> {
        Context::new(document, &self.base, &self.environment)
    }

    /// All findings, in order of place; those that a comment allows are left out.
    pub fn check(&self, document: &Document) -> Vec<Finding> {
        let context = self.context(document);
        let mut findings: Vec<Finding> = registry::RULES.iter().flat_map(|rule| (rule.check)(rule, &context)).collect();
        // A file that could not be read at all is no rule's.
        findings.extend(diagnostic::from_problems(document).into_iter().filter(|finding| finding.code.is_none()));
        let mut findings = suppress::silence(document, findings, context.is_complete());
        findings.sort_by_key(|finding| (finding.offset(), std::cmp::Reverse(finding.severity)));
        findings
    }
}
