//! `memspec-train export-gguf-lora`.

use std::path::Path;
use std::process::ExitCode;

use memspec::model::{Environment, find};

use super::ExportArguments;
use super::failure::Failure;
use super::print::out;
use crate::export::export as write;

pub(super) fn export(arguments: &ExportArguments) -> Result<ExitCode, Failure> {
    let base = find(&arguments.base, Path::new(""), &Environment::from_process()).map_err(|error| {
        Failure::new(error, "name the folder of the model that the adapter was trained on with `--base`")
    })?;
    let exported = write(&base.architecture, &arguments.adapter, &arguments.output)?;
    if arguments.json {
        let mut json = serde_json::to_value(&exported).unwrap_or_default();
        json["file"] = arguments.output.display().to_string().into();
        out(&format!("{json}\n"))?;
    } else {
        out(&format!(
            "{}: {} linears of a `{}` model, rank {}; try it with `llama-cli -m MODEL.gguf --lora {}`\n",
            arguments.output.display(),
            exported.modules,
            exported.architecture,
            exported.rank,
            arguments.output.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
