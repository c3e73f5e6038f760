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
//! | [`costed`] | what a plan comes to |
//! | [`server`] | the language server |
//! | [`suppress`] | `# memspec: allow(rule) reason` |
//! | [`tables`] | the guide's tables, computed beside its claims |
//! | [`output`] | findings and estimates as reports, JSON and tables |
//! | [`accuracy`] | predictions beside measured runs |
//! | [`config`] | `memspec.toml`: which rules are wanted, and what holds for plans that do not say |
//! | [`card`] | this machine's graphics card |
//! | [`cards`] | which cards a plan fits, where nothing says on which it runs |
//! | [`diagnose`] | why a run died, from its log and its plan |
//! | [`cli`] | the command `memspec-lint` |
//!
//! A rule never prints; it returns findings. A program with plans of its own reports on them through [`diagnostic`] and
//! [`output`].

pub mod accuracy;
pub mod card;
pub mod cards;
pub mod cli;
pub mod config;
pub mod context;
pub mod costed;
pub mod diagnose;
pub mod diagnostic;
pub mod fix;
pub mod lengths;
pub mod output;
pub mod registry;
pub mod repair;
pub mod rules;
pub mod server;
pub mod suppress;
pub mod tables;

use std::path::{Path, PathBuf};

use memspec::exchange::foreign;
use memspec::model::{Environment, Measure, ThisCard};
use memspec::plan::{Document, Plan};

pub use config::Settings;
pub use context::{Context, Costs};
pub use diagnostic::{Finding, Label, Severity};
pub use fix::{Applicability, Fix};
pub use registry::Rule;

/// Where this process looks models, data and its card up.
pub(crate) fn here() -> Environment {
    Environment {
        measure: Some(Measure(lengths::measure)),
        card: Some(ThisCard(card::this_machine)),
        ..Environment::from_process()
    }
}

/// Checks documents against every rule.
#[derive(Clone, Debug, Default)]
pub struct Linter {
    base: PathBuf,
    environment: Environment,
    settings: Settings,
}

/// The document, or what it says as another trainer's file. What is not understood there is a finding of its own (`not-understood`), as
/// the rest can be costed all the same.
fn recognized(document: Document) -> Document {
    let mut document = foreign::recognized(document);
    document.problems.retain(|problem| problem.code != foreign::NOT_UNDERSTOOD);
    document
}

impl Linter {
    /// A linter of plans whose paths are relative to `base`, with models looked up in `environment`.
    pub fn new(base: impl Into<PathBuf>, environment: Environment) -> Self {
        Self { base: base.into(), environment, settings: Settings::default() }
    }

    /// A linter for the plans of a file: their paths are relative to its folder, and models are looked up where this
    /// process's variables say. Local data are counted (see [`lengths`]), and `device = auto` is this machine's card.
    pub fn for_file(path: impl AsRef<Path>) -> Self {
        Self::beside(path, here())
    }

    /// The same with models looked up in `environment`.
    pub fn beside(path: impl AsRef<Path>, environment: Environment) -> Self {
        Self::new(path.as_ref().parent().map(Path::to_path_buf).unwrap_or_default(), environment)
    }

    /// With what a `memspec.toml` or a command line asks for.
    #[must_use]
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Reads a plan file, or one of another trainer; what its plans leave open is as the settings have it.
    pub fn read(&self, path: impl AsRef<Path>) -> Document {
        self.settings.defaults.fill(recognized(memspec::plan::read(path)))
    }

    /// Reads a plan from a text, in the same way; the extension of `name` says what it is written in.
    pub fn read_text(&self, name: impl Into<String>, text: impl Into<String>) -> Document {
        self.read_text_among(name, text, &|_| None)
    }

    /// The same among texts that go before the files on disk (see [`memspec::plan::read_text_among`]).
    pub fn read_text_among(
        &self,
        name: impl Into<String>,
        text: impl Into<String>,
        texts: &dyn Fn(&Path) -> Option<String>,
    ) -> Document {
        self.settings.defaults.fill(recognized(memspec::plan::read_text_among(name, text, texts)))
    }

    /// What every rule sees of a document.
    pub fn context<'a>(&'a self, document: &'a Document) -> Context<'a> {
        Context::new(document, &self.base, &self.environment)
    }

    /// The same with costs from elsewhere: whoever looks at a document again and again keeps them.
    pub fn context_with<'a>(
        &'a self,
        document: &'a Document,
        mut costs: impl FnMut(&Plan, &Path, &Environment) -> Costs,
    ) -> Context<'a> {
        Context::with(document, &self.base, &self.environment, |plan| costs(plan, &self.base, &self.environment))
    }

    /// The folder that its plans' paths are relative to.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Where it looks models up.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// All findings that are wanted, in order of place; those that a comment allows are left out.
    pub fn check(&self, document: &Document) -> Vec<Finding> {
        self.findings(&self.context(document))
    }

    /// The same for a document that was resolved and costed already.
    pub fn findings(&self, context: &Context<'_>) -> Vec<Finding> {
        let document = context.document;
        let selection = &self.settings.selection;
        let looked_at = |rule: &Rule| selection.may_want(rule);
        let rules = registry::RULES.iter().filter(|rule| looked_at(rule));
        let mut findings: Vec<Finding> = rules.flat_map(|rule| (rule.check)(rule, context)).collect();
        // A file that could not be read at all is no rule's.
        findings.extend(diagnostic::from_problems(document).into_iter().filter(|finding| finding.code.is_none()));
        let mut findings = suppress::silence(document, findings, context.is_complete(), looked_at);
        findings.retain(|finding| selection.wants(finding));
        let mut findings = rules::spec::unsupported_setting::without_echoes(findings);
        findings.sort_by_key(|finding| (finding.offset(), std::cmp::Reverse(finding.severity)));
        findings
    }
}
