//! What is wrong with a text: where, why, and what to write instead.

use std::ops::Range;

use super::Edit;

/// A mistake in a plan's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// A name for this kind of mistake: `unknown-setting`.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where.
    pub span: Range<usize>,
    /// A few words beside that place.
    pub label: String,
    /// Other places that matter, each with a few words.
    pub related: Vec<(Range<usize>, String)>,
    /// The edit that repairs it, where there is one that can be meant.
    pub fix: Option<Edit>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, span: Range<usize>, message: impl Into<String>) -> Self {
        Problem { code, span, message: message.into(), ..Default::default() }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    pub(crate) fn fix(mut self, range: Range<usize>, text: impl Into<String>) -> Self {
        self.fix = Some(Edit { range, text: text.into() });
        self
    }
}

#[cfg(feature = "report")]
pub use report::Report;

#[cfg(feature = "report")]
mod report {
    use std::fmt;

    use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

    use super::Problem;
    use crate::plan::Source;

    /// A problem together with the text it is about, for miette to show.
    #[derive(Clone, Debug)]
    pub struct Report {
        problem: Problem,
        source: NamedSource<String>,
    }

    impl Report {
        /// A report of `problem`, which is about `source`.
        pub fn new(source: &Source, problem: &Problem) -> Self {
            let language = if source.name.ends_with(".mem") { "mem" } else { "yaml" };
            Report {
                problem: problem.clone(),
                source: NamedSource::new(&source.name, source.text.clone()).with_language(language),
            }
        }
    }

    impl fmt::Display for Report {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.problem.message)
        }
    }

    impl std::error::Error for Report {}

    impl Diagnostic for Report {
        fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
            Some(Box::new(self.problem.code))
        }

        fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
            self.problem.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
        }

        fn source_code(&self) -> Option<&dyn SourceCode> {
            Some(&self.source)
        }

        fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
            let words = |label: &str| (!label.is_empty()).then(|| label.to_owned());
            let main = LabeledSpan::new_primary_with_span(words(&self.problem.label), self.problem.span.clone());
            let related = self.problem.related.iter();
            Some(Box::new(
                std::iter::once(main)
                    .chain(related.map(move |(span, label)| LabeledSpan::new_with_span(words(label), span.clone()))),
            ))
        }
    }
}
