//! What the command prints when something is wrong: one report each, and an exit code.

use std::path::Path;
use std::process::ExitCode;

use memspec::plan::{Document, Problem};
use memspec::setup::TooBig;
use memspec::solve::Change;
use miette::{MietteDiagnostic, Report};

use crate::checkpoint::CheckpointError;
use crate::network::load::LoadError;
use crate::output::OutputError;
use crate::prepare::PrepareError;
use crate::run::RunError;
use crate::template::TemplateError;
use crate::tokenizer::TokenizerError;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something is wrong with the plan's text.
    Plan(Box<Document>, Vec<Problem>),
    /// The plan does not fit.
    TooBig(Box<TooBig>, Vec<Change>),
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
        match self {
            Self::Plan(document, problems) => {
                for problem in &problems {
                    eprintln!("{:?}", Report::new(document.report(problem)));
                }
                ExitCode::from(2)
            }
            Self::TooBig(too_big, changes) => {
                show(&too_big.to_string(), Some(too_big_help(&too_big, &changes)));
                ExitCode::from(1)
            }
            Self::Other { message, help } => {
                show(&message, help);
                ExitCode::from(2)
            }
        }
    }
}

fn show(message: &str, help: Option<String>) {
    let mut diagnostic = MietteDiagnostic::new(message);
    diagnostic.help = help;
    eprintln!("{:?}", Report::new(diagnostic));
}

fn too_big_help(too_big: &TooBig, changes: &[Change]) -> String {
    let mut help = String::from("at the peak there are");
    for part in too_big.estimate.at_peak.iter().take(4) {
        help += &format!(" {} of {},", memspec::quantity::Bytes(part.bytes), part.what);
    }
    help.pop();
    let fitting: Vec<&Change> = changes.iter().filter(|change| change.estimate.fits).take(4).collect();
    if fitting.is_empty() {
        help += "; no single change makes it fit: a smaller model, or a larger device";
    }
    for change in fitting {
        help += &format!("\n{}: saves {}, fits", change.title, change.saves);
    }
    help
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
        None => "put them there: a folder with model.safetensors and config.json, or a .gguf file; or change `weights`".to_owned(),
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
            RunError::Diverged { .. } => Self::new(error, "a lower learning rate, or a longer warm-up, usually helps"),
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

plain!(CheckpointError, LoadError, TemplateError, TokenizerError);
