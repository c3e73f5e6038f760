//! From a plan's file to the setup that a command works on.

use std::path::{Path, PathBuf};

use memspec::cost::{CostError, Estimate};
use memspec::model::{Environment, ThisCard};
use memspec::plan::{self, Document, Written};
use memspec::setup::{Setup, Unresolved, Verified, VerifyError};
use memspec::solve::{Resolved, changes, setups};
use memspec_lint::diagnostic::{from_problems, from_too_big, from_unresolved};

use super::failure::Failure;

/// A plan's file, read and resolved.
#[derive(Debug)]
pub(super) struct Opened {
    /// Its text and plans.
    pub(super) document: Document,
    /// Its folder, where relative paths start.
    pub(super) base: PathBuf,
    /// Where models are looked up.
    pub(super) environment: Environment,
    /// The setups of the plan that was asked for: several when it sweeps.
    pub(super) resolved: Vec<Resolved>,
}

/// Reads a plan's file and resolves the plan `name`, or its only one.
pub(super) fn open(path: &Path, name: Option<&str>) -> Result<Opened, Failure> {
    let document = plan::read(path);
    if !document.problems.is_empty() {
        let findings = from_problems(&document);
        return Err(Failure::Plan(Box::new(document), findings));
    }
    let names = || document.plans.iter().map(|plan| plan.name.as_str()).collect::<Vec<_>>().join(", ");
    let written = match (name, document.plans.as_slice()) {
        (Some(name), _) => document.plan(name).ok_or_else(|| {
            Failure::new(format!("{} has no plan `{name}`", path.display()), format!("it has: {}", names()))
        })?,
        (None, [only]) => only,
        (None, []) => {
            return Err(Failure::new(
                format!("{} holds no plan", path.display()),
                "write `plan \"name\" { model = \"...\" }`; `examples/quickstart.mem` is one to start from",
            ));
        }
        (None, _) => {
            return Err(Failure::new(
                format!("{} holds several plans", path.display()),
                format!("choose one with `--name`: {}", names()),
            ));
        }
    };
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let environment = Environment {
        card: Some(ThisCard(memspec_lint::card::this_machine)),
        runs_on_card: cfg!(feature = "cuda"),
        ..Environment::from_process()
    };
    let resolved = setups(&written.plan, &base, &environment)
        .map_err(|unresolved| Failure::Plan(Box::new(document.clone()), from_unresolved(written, &unresolved)))?;
    Ok(Opened { resolved, document, base, environment })
}

impl Opened {
    pub(super) fn written(&self, plan: &str) -> Written {
        self.document.plan(plan).cloned().unwrap_or_default()
    }

    /// The setup of a run, proven to fit.
    pub(super) fn verify(&self, resolved: &Resolved, setup: Setup) -> Result<Verified, Failure> {
        setup.verify().map_err(|error| match error {
            VerifyError::Cost(error) => self.unsupported(&resolved.plan.name, &error),
            VerifyError::TooBig(too_big) => self.too_big(resolved, &too_big.setup, &too_big.estimate),
        })
    }

    /// A setting that the plan's engine does not run.
    pub(super) fn unsupported(&self, plan: &str, error: &CostError) -> Failure {
        let CostError::Unsupported { setting, what } = error;
        let unresolved = Unresolved {
            rule: "unsupported-setting",
            setting: (*setting).to_owned(),
            message: what.clone(),
            help: None,
            nearest: None,
        };
        let findings = from_unresolved(&self.written(plan), &[unresolved]);
        Failure::Plan(Box::new(self.document.clone()), findings)
    }

    /// A setup that does not fit, with the changes that make it fit.
    fn too_big(&self, resolved: &Resolved, setup: &Setup, estimate: &Estimate) -> Failure {
        let mut finding = from_too_big(&self.written(&resolved.plan.name), setup, estimate);
        let all = changes(resolved, &self.base, &self.environment);
        let fitting: Vec<String> = all
            .iter()
            .filter(|change| change.estimate.fits)
            .map(|change| format!("{}: saves {}, fits", change.title, change.saves))
            .collect();
        finding.help = Some(match fitting.is_empty() {
            true => "no single change makes it fit; `memspec-lint check --fix` looks for several".to_owned(),
            false => format!("{}\n`memspec-lint check --fix` makes the first of them", fitting.join("\n")),
        });
        Failure::TooBig(Box::new(self.document.clone()), Box::new(finding))
    }
}
