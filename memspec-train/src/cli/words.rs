//! `memspec-train generate` and `memspec-train logits`.

use std::io::{BufRead, IsTerminal, Write, stderr, stdin};
use std::process::ExitCode;

use super::failure::Failure;
use super::frozen::Frozen;
use super::print::out;
use super::{GenerateArguments, LogitsArguments};
use crate::checkpoint::{TensorSpec, write_safetensors};
use crate::generate::{Sampling, all_logits, generate as answer};
use crate::kernels::place::fetch;
use crate::network::Model;
use crate::network::cache::Cache;
use crate::prepare::chat_template;
use crate::template::Message;

/// Tokens of a chat, question after answer, that there is room for where the model has positions for more.
const CHAT_POSITIONS: usize = 8192;

pub(super) fn generate(arguments: &GenerateArguments) -> Result<ExitCode, Failure> {
    let frozen = Frozen::open(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let template = chat_template(&frozen.tokenizer, frozen.setup.data.template.as_deref())?;
    let mut turns: Vec<Message> = arguments.system.iter().map(|text| Message::new("system", text)).collect();
    if template.is_none() && (arguments.chat || arguments.system.is_some()) {
        return Err(Failure::new(
            "the model has no chat template, so it knows no turns",
            "name one with the plan's `data.template`, or give `--prompt` alone, which is continued",
        ));
    }
    let mut speaker = Speaker { arguments, frozen: &frozen, model: None };
    if let Some(prompt) = &arguments.prompt {
        let ids = match &template {
            Some(template) => {
                turns.push(Message::new("user", prompt));
                frozen.prompt(&template.render(&turns, true)?)?
            }
            None => [frozen.tokenizer.prefix(), &frozen.prompt(prompt)?].concat(),
        };
        let positions = ids.len() + arguments.max_tokens;
        speaker.answer(prompt, &ids, positions)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(template) = template else { unreachable!("refused above") };
    let asks = stdin().is_terminal();
    loop {
        if asks {
            prompt_user();
        }
        let mut line = String::new();
        let read = stdin().lock().read_line(&mut line);
        if read.map_err(|error| Failure::new(format!("standard input: {error}"), "type text, one turn a line"))? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        turns.push(Message::new("user", line));
        let ids = frozen.prompt(&template.render(&turns, true)?)?;
        let text = speaker.answer(line, &ids, CHAT_POSITIONS)?;
        turns.push(Message::new("assistant", text));
    }
}

/// Who answers: the model, loaded at the first question, and what it remembers.
struct Speaker<'a> {
    arguments: &'a GenerateArguments,
    frozen: &'a Frozen,
    model: Option<(Model, Cache)>,
}

impl Speaker<'_> {
    /// Prints the answer to a prompt, whose tokens are `ids`, and gives its text. The model gets as many `positions`, or all that it has.
    fn answer(&mut self, prompt: &str, ids: &[u32], positions: usize) -> Result<String, Failure> {
        let (arguments, tokenizer) = (self.arguments, &self.frozen.tokenizer);
        if self.model.is_none() {
            let model = self.frozen.load(positions)?;
            let cache = Cache::new(&model);
            self.model = Some((model, cache));
        }
        let Some((model, cache)) = &mut self.model else { unreachable!("loaded above") };
        if ids.len() >= model.heads.context && arguments.chat {
            let message =
                format!("the conversation has {} tokens, of {} that there is room for", ids.len(), model.heads.context);
            return Err(Failure::new(message, "begin another one"));
        }
        let sampling = Sampling {
            max_tokens: arguments.max_tokens,
            temperature: arguments.temperature,
            top_p: arguments.top_p,
            seed: arguments.seed.unwrap_or(self.frozen.setup.seed),
        };
        let mut spoken = String::new();
        let mut so_far = Vec::new();
        let mut printed = Ok(());
        let answer = answer(model, cache, ids, tokenizer.stop(), sampling, |id| {
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
        })?;
        printed?;
        let text = tokenizer.decode_plain(&answer)?;
        if arguments.json {
            let json = serde_json::json!({ "prompt": prompt, "answer": text.trim(), "tokens": answer.len() });
            out(&format!("{json}\n"))?;
        } else {
            out("\n")?;
        }
        Ok(text)
    }
}

/// Says that it is the user's turn.
fn prompt_user() {
    let _ = write!(stderr(), "> ");
    let _ = stderr().flush();
}

pub(super) fn logits(arguments: &LogitsArguments) -> Result<ExitCode, Failure> {
    let frozen = Frozen::open(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let ids = frozen.prompt(&arguments.prompt)?;
    let model = frozen.load(ids.len())?;
    let logits = all_logits(&model, &ids);
    let mut values = fetch(&logits)?;
    let specs = [
        TensorSpec { name: "input_ids".to_owned(), shape: vec![ids.len()] },
        TensorSpec { name: "logits".to_owned(), shape: logits.dims().to_vec() },
    ];
    write_safetensors(&arguments.out, &specs, |index| match index {
        0 => ids.iter().map(|&id| id as f32).collect(),
        _ => std::mem::take(&mut values),
    })
    .map_err(|error| Failure::new(error, "choose another `--out`"))?;
    Ok(ExitCode::SUCCESS)
}
