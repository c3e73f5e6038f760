//! `memspec-train generate` and `memspec-train logits`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use memspec::plan::OptimizerKind;
use memspec::setup::Setup;

use super::failure::Failure;
use super::open::open;
use super::print::out;
use super::{GenerateArguments, LogitsArguments};
use crate::checkpoint::{Checkpoint, TensorSpec, write_safetensors};
use crate::generate::{Sampling, all_logits, generate as answer};
use crate::kernels::storage;
use crate::network::Model;
use crate::network::load::{Weights, load};
use crate::output::read_adapter;
use crate::peft::Adapter;
use crate::prepare::{chat_template, known_token, weights};
use crate::template::Message;
use crate::tokenizer::Tokenizer;

pub(super) fn generate(arguments: &GenerateArguments) -> Result<ExitCode, Failure> {
    let words = open_for_words(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let prompt = match chat_template(&words.tokenizer, words.setup.data.template.as_deref())? {
        Some(template) => template.render(&[Message::new("user", &arguments.prompt)], true)?,
        None => arguments.prompt.clone(),
    };
    let ids = words.prompt(&prompt)?;
    let model = words.load(ids.len() + arguments.max_tokens)?;
    let tokenizer = &words.tokenizer;
    let sampling =
        Sampling { max_tokens: arguments.max_tokens, temperature: arguments.temperature, seed: words.setup.seed };
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
    let words = open_for_words(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let ids = words.prompt(&arguments.prompt)?;
    let model = words.load(ids.len())?;
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

/// A model that will answer.
struct Words {
    setup: Setup,
    weights: PathBuf,
    tokenizer: Tokenizer,
    adapter: Option<PathBuf>,
}

/// The model of a plan, with an adapter of a run where one is named. Nothing is trained, so nothing is kept for that.
fn open_for_words(plan: &Path, name: Option<&str>, adapter: Option<&Path>) -> Result<Words, Failure> {
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
            let help = "`--adapter` takes the folder of a run";
            let config = Adapter::open(folder).map_err(|error| Failure::new(error, help))?.config;
            let Some(adapter) = &mut setup.adapter else {
                return Err(Failure::new("the plan has no adapter", "add `adapter lora { }` to it"));
            };
            adapter.rank = config.r;
            adapter.alpha = config.lora_alpha;
            adapter.rank_stabilized = config.use_rslora;
            adapter.targets.clone_from(&config.target_modules);
        }
        // An adapter that adapts nothing: the base model, frozen.
        None => {
            if let Some(adapter) = &mut setup.adapter {
                adapter.targets.clear();
            }
        }
    }
    let weights = weights(&setup)?.to_owned();
    let tokenizer = Tokenizer::open(&weights)?;
    Ok(Words { setup, weights, tokenizer, adapter: adapter.map(Path::to_owned) })
}

impl Words {
    /// A prompt's tokens, which the model has rows and positions for.
    fn prompt(&self, text: &str) -> Result<Vec<u32>, Failure> {
        let ids = self.tokenizer.encode(text)?;
        if ids.is_empty() {
            return Err(Failure::new("the prompt has no tokens", "give some text with `--prompt`"));
        }
        let most = self.setup.model.max_positions;
        if ids.len() as u64 > most {
            let message = format!("the prompt has {} tokens, the model has positions for {most}", ids.len());
            return Err(Failure::new(message, "give a shorter `--prompt`"));
        }
        known_token(&self.setup, ids.iter().copied().max().unwrap_or(0))?;
        Ok(ids)
    }

    /// Loads the model with positions for `tokens`, or for as many as it has.
    fn load(&self, tokens: usize) -> Result<Model, Failure> {
        let mut setup = self.setup.clone();
        setup.data.context = self.setup.model.max_positions.min(tokens as u64);
        let checkpoint = Weights::Checkpoint(Box::new(Checkpoint::open(&self.weights)?));
        let mut model = load(&setup, &checkpoint, &mut |_| {})?;
        if let Some(folder) = &self.adapter {
            read_adapter(folder, &mut model)?;
        }
        Ok(model)
    }
}
