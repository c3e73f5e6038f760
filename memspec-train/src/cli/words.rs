//! `memspec-train generate` and `memspec-train logits`.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use memspec::plan::OptimizerKind;
use memspec::setup::Setup;

use super::failure::Failure;
use super::open::open;
use super::{GenerateArguments, LogitsArguments};
use crate::checkpoint::{Checkpoint, TensorSpec, write_safetensors};
use crate::generate::{Sampling, all_logits, generate as answer};
use crate::kernels::storage;
use crate::network::Model;
use crate::network::load::{Weights, load};
use crate::output::read_adapter;
use crate::peft::AdapterConfig;
use crate::prepare::{chat_template, weights};
use crate::template::Message;
use crate::tokenizer::Tokenizer;

pub(super) fn generate(arguments: &GenerateArguments) -> Result<ExitCode, Failure> {
    let (setup, model, tokenizer) = load_for_words(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let prompt = match chat_template(&tokenizer, setup.data.template.as_deref())? {
        Some(template) => template.render(&[Message::new("user", &arguments.prompt)], true)?,
        None => arguments.prompt.clone(),
    };
    let ids = tokenizer.encode(&prompt)?;
    let sampling =
        Sampling { max_tokens: arguments.max_tokens, temperature: arguments.temperature, seed: setup.seed };
    let mut spoken = String::new();
    let mut so_far = Vec::new();
    let ids = answer(&model, &ids, tokenizer.stop(), sampling, |id| {
        so_far.push(id);
        // A character may take several tokens: only what is whole is shown.
        if !arguments.json
            && let Ok(text) = tokenizer.decode_plain(&so_far)
            && !text.ends_with('\u{fffd}')
            && let Some(new) = text.strip_prefix(&spoken)
        {
            print!("{new}");
            let _ = std::io::stdout().flush();
            spoken = text;
        }
        true
    });
    if arguments.json {
        let text = tokenizer.decode_plain(&ids)?;
        println!("{}", serde_json::json!({ "prompt": arguments.prompt, "answer": text.trim(), "tokens": ids.len() }));
    } else {
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn logits(arguments: &LogitsArguments) -> Result<ExitCode, Failure> {
    let (_, model, tokenizer) = load_for_words(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let ids = tokenizer.encode(&arguments.prompt)?;
    if ids.is_empty() {
        return Err(Failure::new("the prompt has no tokens", "give some text with `--prompt`"));
    }
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

/// The model of a plan, with an adapter of a run where one is named. Nothing is trained, so nothing is kept for that.
fn load_for_words(plan: &Path, name: Option<&str>, adapter: Option<&Path>) -> Result<(Setup, Model, Tokenizer), Failure> {
    let opened = open(plan, name)?;
    let Some(resolved) = opened.resolved.first() else {
        return Err(Failure::new("the plan has no setup", "give its `sweep` at least one value"));
    };
    let mut setup = resolved.setup.clone();
    setup.train.optimizer = OptimizerKind::Sgd;
    if let Err(error) = memspec::cost::estimate(&setup) {
        return Err(opened.unsupported(&resolved.plan.name, &error));
    }
    match adapter {
        Some(folder) => {
            let config = AdapterConfig::read(folder).map_err(|error| Failure::new(error, "`--adapter` takes the folder of a run"))?;
            let Some(adapter) = &mut setup.adapter else {
                return Err(Failure::new("the plan has no adapter", "add `adapter lora { }` to it"));
            };
            adapter.rank = config.r;
            adapter.alpha = config.lora_alpha;
            adapter.rank_stabilized = config.use_rslora;
            adapter.targets.clone_from(&config.target_modules);
        }
        // An adapter that adapts nothing: the base model, frozen.
        None => match &mut setup.adapter {
            Some(adapter) => adapter.targets.clear(),
            None => {}
        },
    }
    let path = weights(&setup)?;
    let tokenizer = Tokenizer::open(path)?;
    let checkpoint = Weights::Checkpoint(Box::new(Checkpoint::open(path)?));
    let mut model = load(&setup, &checkpoint, &mut |_| {})?;
    if let Some(folder) = adapter {
        read_adapter(folder, &mut model)?;
    }
    Ok((setup, model, tokenizer))
}
