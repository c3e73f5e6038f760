//! `memspec-train generate` and `memspec-train logits`.

use std::process::ExitCode;

use super::failure::Failure;
use super::frozen::Frozen;
use super::print::out;
use super::{GenerateArguments, LogitsArguments};
use crate::checkpoint::{TensorSpec, write_safetensors};
use crate::generate::{Sampling, all_logits, generate as answer};
use crate::kernels::storage;
use crate::prepare::chat_template;
use crate::template::Message;

pub(super) fn generate(arguments: &GenerateArguments) -> Result<ExitCode, Failure> {
    let frozen = Frozen::open(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let prompt = match chat_template(&frozen.tokenizer, frozen.setup.data.template.as_deref())? {
        Some(template) => template.render(&[Message::new("user", &arguments.prompt)], true)?,
        None => arguments.prompt.clone(),
    };
    let ids = frozen.prompt(&prompt)?;
    let model = frozen.load(ids.len() + arguments.max_tokens)?;
    let tokenizer = &frozen.tokenizer;
    let sampling =
        Sampling { max_tokens: arguments.max_tokens, temperature: arguments.temperature, seed: frozen.setup.seed };
    let mut spoken = String::new();
    let mut so_far = Vec::new();
    let mut printed = Ok(());
    let ids = answer(&model, &ids, tokenizer.stop(), sampling, |id| {
        so_far.push(id);
        // A character may take several tokens: only what is whole is shown.
        if !arguments.json
            && let Ok(text) = tokenizer.decode_plain(&so_far)
            && !text.ends_with('\u{fffd}')
            && let Some(new) = text.strip_prefix(&spoken)
        {
            printed = out(new);
            spoken = text;
        }
        printed.is_ok()
    });
    printed?;
    if arguments.json {
        let text = tokenizer.decode_plain(&ids)?;
        let json = serde_json::json!({ "prompt": arguments.prompt, "answer": text.trim(), "tokens": ids.len() });
        out(&format!("{json}\n"))?;
    } else {
        out("\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn logits(arguments: &LogitsArguments) -> Result<ExitCode, Failure> {
    let frozen = Frozen::open(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let ids = frozen.prompt(&arguments.prompt)?;
    let model = frozen.load(ids.len())?;
    let logits = all_logits(&model, &ids);
    let specs = [
        TensorSpec { name: "input_ids".to_owned(), shape: vec![ids.len()] },
        TensorSpec { name: "logits".to_owned(), shape: logits.dims().to_vec() },
    ];
    write_safetensors(&arguments.out, &specs, |index| match index {
        0 => ids.iter().map(|&id| id as f32).collect(),
        _ => storage::read(&logits, <[f32]>::to_vec),
    })
    .map_err(|error| Failure::new(error, "choose another `--out`"))?;
    Ok(ExitCode::SUCCESS)
}
