//! `memspec-train merge`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use memspec::model::{Environment, find};
use memspec::quantity::Bytes;

use super::MergeArguments;
use super::failure::Failure;
use super::open::open;
use super::print::out;
use super::progress::Count;
use crate::checkpoint::Checkpoint;
use crate::merge::merge as add;
use crate::prepare::weights;

pub(super) fn merge(arguments: &MergeArguments) -> Result<ExitCode, Failure> {
    let base = base_folder(arguments)?;
    let all = Checkpoint::open(&base)?.stored_bytes();
    let mut count = Count::new(arguments.quiet || arguments.json, "MB", all / 1_000_000);
    let merged = add(&base, &arguments.adapter, &arguments.output, &mut |bytes| count.show(bytes / 1_000_000));
    count.finish();
    let merged = merged?;
    if arguments.json {
        out(&format!("{}\n", serde_json::to_string(&merged).unwrap_or_default()))?;
    } else if !arguments.quiet {
        out(&format!(
            "{}: {} of {} tensors changed, {}\n",
            merged.folder.display(),
            merged.changed,
            merged.tensors,
            Bytes(merged.bytes)
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Where the base's weights are: as the plan says, or as `--base` does.
fn base_folder(arguments: &MergeArguments) -> Result<PathBuf, Failure> {
    match (&arguments.plan, &arguments.base) {
        (Some(plan), _) => {
            let opened = open(plan, arguments.name.as_deref())?;
            let Some(resolved) = opened.resolved.first() else {
                return Err(Failure::new("the plan has no setup", "give its `sweep` at least one value"));
            };
            Ok(weights(&resolved.setup)?.to_owned())
        }
        (None, Some(base)) => named(base),
        (None, None) => Err(Failure::new("no base model", "name a plan, or the model's folder with `--base`")),
    }
}

/// The folder of a model that is here by its path or its hub name.
fn named(base: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(base);
    if path.exists() {
        return Ok(path.to_owned());
    }
    let found = find(base, Path::new(""), &Environment::from_process())
        .map_err(|error| Failure::new(error, "name the folder that the model was saved to with `--base`"))?;
    found.gguf.or(found.folder).ok_or_else(|| {
        Failure::new(
            format!("the weights of `{base}` are not here"),
            format!("download it (`hf download {base}` puts it into the local Hugging Face cache), or name its folder"),
        )
    })
}
