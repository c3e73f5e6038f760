//! Findings and estimates for people and for programs.

pub mod estimate;
pub mod github;
pub mod html;
pub mod json;
pub mod report;
pub mod sarif;
pub mod statistics;
pub mod tables;

use std::io::IsTerminal;

use terminal_size::{Height, Width, terminal_size_of};

/// How text is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// Columns that there are.
    pub width: usize,
    /// Reports are sentences without drawings, for screen readers.
    pub narrated: bool,
}

impl Style {
    /// Without colours: for files, pipes and tests.
    pub const PLAIN: Style = Style { colour: false, width: 100, narrated: false };

    /// For this process's standard output: colours and its width on a terminal, unless `NO_COLOR` is set; narrated with `NO_GRAPHICS`.
    pub fn of_stdout() -> Style {
        let stdout = std::io::stdout();
        Style::of(stdout.is_terminal(), terminal_size_of(&stdout))
    }

    /// The same for its standard error.
    pub fn of_stderr() -> Style {
        let stderr = std::io::stderr();
        Style::of(stderr.is_terminal(), terminal_size_of(&stderr))
    }

    fn of(terminal: bool, size: Option<(Width, Height)>) -> Style {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let wanted = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        Style {
            colour: terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !dumb,
            width: wanted.or(size.map(|(width, _)| usize::from(width.0))).unwrap_or(Style::PLAIN.width).clamp(40, 140),
            narrated: set("NO_GRAPHICS"),
        }
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
