//! Findings and estimates for people and for programs.

pub mod estimate;
pub mod json;
pub mod report;
pub mod tables;

use std::io::IsTerminal;

/// How text is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// Columns that there are.
    pub width: usize,
}

impl Style {
    /// Without colours: for files, pipes and tests.
    pub const PLAIN: Style = Style { colour: false, width: 100 };

    /// For this process's standard output: colours and its width on a terminal, unless `NO_COLOR` is set.
    pub fn of_stdout() -> Style {
        Style::of(std::io::stdout().is_terminal())
    }

    /// The same for its standard error.
    pub fn of_stderr() -> Style {
        Style::of(std::io::stderr().is_terminal())
    }

    fn of(terminal: bool) -> Style {
        if !terminal {
            return Style::PLAIN;
        }
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Style { colour: !set("NO_COLOR") && !dumb, width: columns.unwrap_or(100).clamp(40, 140) }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("1;32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(crate) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}
