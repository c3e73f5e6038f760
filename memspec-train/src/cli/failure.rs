//! What the command prints when something is wrong: the linter's reports where the plan's text is at fault, else one of its own.

use std::path::Path;
use std::process::ExitCode;

use memspec::plan::Document;
use memspec_lint::Finding;
use memspec_lint::output::{Style, report};
use miette::MietteDiagnostic;

use super::print::note;
use crate::bench::BenchError;
use crate::checkpoint::CheckpointError;
use crate::export::ExportError;
use crate::kernels::DeviceFailed;
use crate::merge::MergeError;
use crate::network::load::LoadError;
use crate::output::OutputError;
use crate::prepare::PrepareError;
use crate::run::RunError;
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Failure {
    /// The plan is at fault.
    Plan(Box<Document>, Vec<Finding>),
    /// The plan is sound and does not fit.
    TooBig(Box<Document>, Box<Finding>),
    /// Anything else, with what to do about it.
    Other {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
    },
}

impl Failure {
    /// A failure with advice.
    pub(super) fn new(message: impl ToString, help: impl Into<String>) -> Self {
        Self::Other { message: message.to_string(), help: Some(help.into()) }
    }

    /// Prints it to standard error. A plan that does not fit is a finding (1), the rest could not run (2).
    pub(super) fn print(self) -> ExitCode {
        let style = Style::of_stderr();
        match self {
            Self::Plan(document, findings) => {
                note(report::render_all(&document.source, &findings, style).trim_end_matches('\n'));
                ExitCode::from(2)
            }
            Self::TooBig(document, finding) => {
                note(report::render(&document.source, &finding, style).trim_end_matches('\n'));
                ExitCode::from(1)
            }
            Self::Other { message, help } => {
                let mut diagnostic = MietteDiagnostic::new(message);
                diagnostic.help = help;
                note(report::diagnostic(&diagnostic, style).trim_end_matches('\n'));
                ExitCode::from(2)
            }
        }
    }
}

impl From<PrepareError> for Failure {
    fn from(error: PrepareError) -> Self {
        let message = error.to_string();
        let help = match &error {
            PrepareError::NoWeights { model, .. } => Some(format!(
                "download it (`hf download {model}` puts it into the local Hugging Face cache, where it is found by its name), \
                 or set `weights` to a folder or a .gguf file"
            )),
            PrepareError::MissingWeights { path } => Some(get_weights(path)),
            _ => None,
        };
        Self::Other { message, help }
    }
}

/// How to get weights that are not at `path`: the script that lies there, when there is one.
fn get_weights(path: &Path) -> String {
    let script = path.parent().map(|folder| folder.join("fetch.py")).filter(|script| script.exists());
    match script {
        Some(script) => format!("fetch them: `python3 {}`", script.display()),
        None => "put them there: a folder with model.safetensors and config.json, or a .gguf file; or change `weights`"
            .to_owned(),
    }
}

impl From<OutputError> for Failure {
    fn from(error: OutputError) -> Self {
        let message = error.to_string();
        let help = match &error {
            OutputError::NotEmpty { .. } => Some(
                "`--resume` goes on from its newest checkpoint, `--overwrite` replaces the earlier run; or set another `output`",
            ),
            OutputError::NothingToResume { .. } => Some("start the run without `--resume`"),
            OutputError::OtherPlan { .. } => {
                Some("take the change back to resume, or start anew with `--overwrite` or another `output`")
            }
            OutputError::Damaged { .. } => {
                Some("remove this folder to go on from an older checkpoint, or start anew with `--overwrite`")
            }
            _ => None,
        };
        Self::Other { message, help: help.map(str::to_owned) }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Prepare(error) => error.into(),
            RunError::Output(error) => error.into(),
            RunError::Diverged { step: 1, .. } => Self::new(
                error,
                "nothing was trained yet: the model's weights hold numbers that are none, or too large; fetch them again",
            ),
            RunError::Diverged { .. } => Self::new(error, "a lower learning rate, or a longer warm-up, usually helps"),
            RunError::ScaleLost { .. } => Self::new(
                error,
                "activations of this model, or its weights, are beyond what f16 holds (65504): `precision = bf16` has the range of f32",
            ),
            other => Self::Other { message: other.to_string(), help: None },
        }
    }
}

impl From<BenchError> for Failure {
    fn from(error: BenchError) -> Self {
        match error {
            BenchError::Prepare(error) => {
                let message = error.to_string();
                Self::new(message, "`--random-weights` measures without a model's files")
            }
            other => Self::Other { message: other.to_string(), help: None },
        }
    }
}

/// Errors whose message says it all.
macro_rules! plain {
    ($($Error:ty),+) => {$(
        impl From<$Error> for Failure {
            fn from(error: $Error) -> Self {
                Self::Other { message: error.to_string(), help: None }
            }
        }
    )+};
}

plain!(DeviceFailed, CheckpointError, ExportError, LoadError, MergeError, TemplateError, TokenizerError);
