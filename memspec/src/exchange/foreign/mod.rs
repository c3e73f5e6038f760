//! The files of other trainers, in and out: TRL's command line, axolotl's and LLaMA-Factory's configurations.
//!
//! A trainer's file is a table (`table.rs`): one entry a key, which says what it means in a plan, for both directions. One reader
//! walks a file by it and makes a [`Document`](crate::plan::Document) whose spans point into that file; one writer goes the other way. Nothing is
//! dropped: what has no counterpart, or is not understood, is a [`Note`].
//!
//! ```
//! # #[cfg(feature = "yaml")] {
//! use memspec::exchange::foreign::{Trainer, recognized, write};
//!
//! let text = "model_name_or_path: Qwen/Qwen2.5-0.5B\ndataset_name: trl-lib/Capybara\ndtype: bfloat16\nuse_peft: true\n";
//! let document = recognized(memspec::plan::read_text("sft.yaml", text));
//! let plan = &document.plans[0].plan;
//! assert_eq!(plan.data.as_ref().unwrap().context, Some(memspec::quantity::Tokens(1024).into()));
//!
//! let written = write(plan, Trainer::Trl).unwrap();
//! assert!(written.text.contains("use_peft: true"));
//! # }
//! ```

#[cfg(feature = "yaml")]
mod axolotl;
#[cfg(feature = "yaml")]
mod deepspeed;
#[cfg(feature = "yaml")]
mod defaults;
#[cfg(feature = "yaml")]
mod edit;
#[cfg(feature = "yaml")]
mod hugging_face;
#[cfg(feature = "yaml")]
mod keys;
#[cfg(feature = "yaml")]
mod llamafactory;
#[cfg(feature = "yaml")]
mod llamafactory_v1;
#[cfg(feature = "yaml")]
mod page;
#[cfg(feature = "yaml")]
mod peft;
#[cfg(feature = "yaml")]
mod read;
#[cfg(feature = "yaml")]
mod table;
#[cfg(feature = "yaml")]
mod training_arguments;
#[cfg(feature = "yaml")]
mod trl;
#[cfg(feature = "yaml")]
mod write;
#[cfg(feature = "yaml")]
mod yaml_text;

use std::ops::Range;

use crate::plan::Script;

/// The code of a document's problem with a key that is not understood, or not costed.
pub const NOT_UNDERSTOOD: &str = "not-understood";

#[cfg(feature = "yaml")]
pub use edit::{Edited, edit, remove};
#[cfg(feature = "yaml")]
pub use keys::{KnownKey, Says, known, model_key, words, written};
#[cfg(feature = "yaml")]
pub use page::page;
#[cfg(feature = "yaml")]
pub use read::{begun, detect, detect_training, read, recognized};
#[cfg(feature = "yaml")]
pub use write::{NotWritten, Written, write};

/// Whose file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Trainer {
    /// `trl sft --config`: SFTConfig, ModelConfig and ScriptArguments of TRL 1.15.
    Trl,
    /// `axolotl train`: the configuration of axolotl 0.21.
    Axolotl,
    /// `llamafactory-cli train`: the arguments of LLaMA-Factory 0.9.5.
    Llamafactory,
    /// `USE_V1=1 llamafactory-cli sft`: the arguments of version 1, which LLaMA-Factory 0.9.5 has beside its own.
    LlamafactoryV1,
}

/// What another trainer's file says beside the settings of its plan, or what of a plan it cannot say.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Note {
    /// What it says.
    pub kind: NoteKind,
    /// The key of the trainer's file, or the setting of the plan by its dotted path.
    pub name: String,
    /// As it is written; `null` where it is a default.
    pub value: Option<String>,
    /// In one sentence.
    pub why: String,
    /// The name that was probably meant.
    pub nearest: Option<String>,
    /// Where it is written, in bytes of the trainer's file.
    pub span: Option<Range<usize>>,
}

/// What a note says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoteKind {
    /// It may change memory, and is not understood.
    NotUnderstood,
    /// What it does is known, and takes memory that is not costed.
    NotCosted,
    /// It changes memory and has no counterpart.
    Lost,
    /// The trainer does something that the estimate has otherwise.
    Difference,
    /// The file leaves it open, and a plan has to say it.
    Assumed,
    /// It has no counterpart, and does not change memory.
    Aside,
}

/// That a document was another trainer's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Whose.
    pub trainer: Trainer,
    /// What it says beside its plan, in order of place.
    pub notes: Vec<Note>,
}

impl Foreign {
    /// It trains by supervised fine-tuning, as far as it says: not by preferences, rewards or diffusion, which are not costed.
    pub fn is_supervised(&self) -> bool {
        let other = |note: &Note| {
            !matches!(note.kind, NoteKind::Aside | NoteKind::Assumed) && OTHER_TRAINING.contains(&note.name.as_str())
        };
        !self.notes.iter().any(other)
    }

    /// The file says something with this key that the estimate has otherwise.
    pub fn differs_in(&self, key: &str) -> bool {
        self.notes.iter().any(|note| note.kind == NoteKind::Difference && note.name == key)
    }
}

/// Keys that say how it is trained otherwise, axolotl's and LLaMA-Factory's.
const OTHER_TRAINING: &[&str] = &[
    "rl",
    "ebft",
    "reward_model",
    "process_reward_model",
    "num_labels",
    "pretraining_dataset",
    "diffusion",
    "diffusion_lm",
    "diffusion_decision",
    "kd_trainer",
    "stage",
];

impl Trainer {
    /// All of them.
    pub const ALL: &'static [Trainer] =
        &[Trainer::Trl, Trainer::Axolotl, Trainer::Llamafactory, Trainer::LlamafactoryV1];

    /// As `--to` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Trainer::Trl => "trl",
            Trainer::Axolotl => "axolotl",
            Trainer::Llamafactory => "llamafactory",
            Trainer::LlamafactoryV1 => "llamafactory-v1",
        }
    }

    /// As people call it.
    pub const fn title(self) -> &'static str {
        match self {
            Trainer::Trl => "TRL",
            Trainer::Axolotl => "axolotl",
            Trainer::Llamafactory => "LLaMA-Factory",
            Trainer::LlamafactoryV1 => "LLaMA-Factory v1",
        }
    }

    /// What takes such a file.
    pub const fn command(self) -> &'static str {
        match self {
            Trainer::Trl => "trl sft --config",
            Trainer::Axolotl => "axolotl train",
            Trainer::Llamafactory => "llamafactory-cli train",
            Trainer::LlamafactoryV1 => "USE_V1=1 llamafactory-cli sft",
        }
    }

    /// The script that stands for it in a plan.
    pub const fn script(self) -> Script {
        match self {
            Trainer::Trl => Script::Sft,
            Trainer::Axolotl => Script::Axolotl,
            Trainer::Llamafactory => Script::Llamafactory,
            Trainer::LlamafactoryV1 => Script::LlamafactoryV1,
        }
    }

    #[cfg(feature = "yaml")]
    fn format(self) -> &'static table::Format {
        match self {
            Trainer::Trl => &trl::FORMAT,
            Trainer::Axolotl => &axolotl::FORMAT,
            Trainer::Llamafactory => &llamafactory::FORMAT,
            Trainer::LlamafactoryV1 => &llamafactory_v1::FORMAT,
        }
    }
}

impl NoteKind {
    /// The heading that notes of this kind stand under.
    pub const fn heading(self) -> &'static str {
        match self {
            NoteKind::NotUnderstood => "not understood",
            NoteKind::NotCosted => "known, and not costed",
            NoteKind::Lost => "no counterpart, and it changes memory",
            NoteKind::Difference => "different from what is estimated",
            NoteKind::Assumed => "not in the file, and assumed",
            NoteKind::Aside => "no counterpart: does not change memory",
        }
    }

    /// What is converted does not cost the same.
    pub const fn changes_memory(self) -> bool {
        matches!(self, NoteKind::NotUnderstood | NoteKind::NotCosted | NoteKind::Lost)
    }
}

impl std::fmt::Display for Trainer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
