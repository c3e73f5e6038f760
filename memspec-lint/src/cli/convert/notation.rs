//! What a plan can be written in.

use std::path::Path;

use clap::ValueEnum;
use memspec::exchange::foreign::{self, Trainer};

/// A notation of memspec, or a trainer's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Notation {
    /// The language of plans
    Mem,
    /// A plan as YAML
    Yaml,
    /// A plan as JSON
    Json,
    /// TRL's command line (`trl sft --config`)
    Trl,
}

impl Notation {
    /// That of a file, by its content, and where that fits several by its name.
    pub(super) fn of(path: &Path, text: &str) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match (foreign::detect(text), extension.as_deref()) {
            (_, Some("mem")) => Self::Mem,
            (Some(Trainer::Trl), _) => Self::Trl,
            (None, Some("yaml" | "yml")) => Self::Yaml,
            (None, Some("json")) => Self::Json,
            (None, _) if text.trim_start().starts_with('{') => Self::Json,
            // Every plan of the language has a block in braces, and no mapping begins with one.
            (None, _) if text.lines().any(|line| line.trim_end().ends_with('{')) => Self::Mem,
            (None, _) => Self::Yaml,
        }
    }

    /// Whose file it is; `None`: a notation of memspec.
    pub(super) const fn trainer(self) -> Option<Trainer> {
        match self {
            Self::Mem | Self::Yaml | Self::Json => None,
            Self::Trl => Some(Trainer::Trl),
        }
    }

    /// As `--to` takes it.
    pub(super) const fn name(self) -> &'static str {
        match (self, self.trainer()) {
            (_, Some(trainer)) => trainer.name(),
            (Self::Yaml, _) => "yaml",
            (Self::Json, _) => "json",
            _ => "mem",
        }
    }
}
