//! What a plan can be written in.

use std::path::Path;
use std::sync::LazyLock;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use memspec::exchange::foreign::{self, Trainer};

/// A notation of memspec, or a trainer's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notation {
    /// The language of plans.
    Mem,
    /// A plan as YAML.
    Yaml,
    /// A plan as JSON.
    Json,
    /// The file of another trainer.
    Foreign(Trainer),
}

impl ValueEnum for Notation {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<Notation>> = LazyLock::new(|| {
            let own = [Notation::Mem, Notation::Yaml, Notation::Json];
            own.into_iter().chain(Trainer::ALL.iter().copied().map(Notation::Foreign)).collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Mem => "The language of plans".to_owned(),
            Self::Yaml => "A plan as YAML".to_owned(),
            Self::Json => "A plan as JSON".to_owned(),
            Self::Foreign(trainer) => format!("A file for `{}`", trainer.command()),
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl Notation {
    /// That of a file, by its content, and where that fits several by its name.
    pub(super) fn of(path: &Path, text: &str) -> Self {
        let extension = path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase);
        match (foreign::detect(text), extension.as_deref()) {
            (_, Some("mem")) => Self::Mem,
            (Some(trainer), _) => Self::Foreign(trainer),
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
            Self::Foreign(trainer) => Some(trainer),
        }
    }

    /// As `--to` takes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Mem => "mem",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Foreign(trainer) => trainer.name(),
        }
    }
}
