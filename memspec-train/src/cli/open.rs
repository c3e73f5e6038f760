//! From a plan's file to the setup that a command works on.

use std::path::{Path, PathBuf};

use memspec::model::Environment;
use memspec::plan::{self, Document};
use memspec::solve::{Resolved, setups};

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
        let problems = document.problems.clone();
        return Err(Failure::Plan(Box::new(document), problems));
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
    let environment = Environment::from_process();
    let resolved = setups(&written.plan, &base, &environment).map_err(|unresolved| {
        let problems = unresolved.iter().map(|unresolved| unresolved.problem(&written.spans)).collect();
        Failure::Plan(Box::new(document.clone()), problems)
    })?;
    Ok(Opened { resolved, document, base, environment })
}

/// A problem at the setting that an engine does not run.
pub(super) fn unsupported(opened: &Opened, plan: &str, setting: &str, what: &str) -> Failure {
    let unresolved = memspec::setup::Unresolved {
        rule: "unsupported-setting",
        setting: setting.to_owned(),
        message: what.to_owned(),
        help: None,
        nearest: None,
    };
    let spans = opened.document.plan(plan).map(|written| written.spans.clone()).unwrap_or_default();
    Failure::Plan(Box::new(opened.document.clone()), vec![unresolved.problem(&spans)])
}
