//! `memspec-train eval`.

use std::process::ExitCode;

use memspec::cost::engine::memspec::loss_rows;

use super::EvalArguments;
use super::failure::Failure;
use super::frozen::Frozen;
use super::print::out;
use super::progress::Count;
use crate::data::Dataset;
use crate::eval::{Pass, score};
use crate::prepare::{chat_template, known_token, options};

pub(super) fn eval(arguments: &EvalArguments) -> Result<ExitCode, Failure> {
    let mut frozen = Frozen::open(&arguments.plan, arguments.name.as_deref(), arguments.adapter.as_deref())?;
    let asked = arguments.context.map_or(frozen.setup.data.context, u64::from);
    frozen.setup.data.context = asked.min(frozen.setup.model.max_positions);
    let setup = &frozen.setup;
    let Some(path) = arguments.data.as_deref().or(setup.eval.as_ref().map(|eval| eval.path.as_path())) else {
        return Err(Failure::new(
            "there is no data to score",
            "name a file with `--data FILE.jsonl`, or give the plan's `data` an `eval_path`",
        ));
    };
    let template = chat_template(&frozen.tokenizer, setup.data.template.as_deref())?;
    let dataset = Dataset::load(path, &frozen.tokenizer, &options(setup, template.as_ref()))
        .map_err(|error| Failure::from(crate::prepare::PrepareError::from(error)))?;
    known_token(setup, dataset.highest_id())?;
    let pass = Pass {
        micro_batch: usize::from(arguments.micro_batch),
        loss_rows: loss_rows(setup) as usize,
        pad: frozen.tokenizer.pad(),
    };
    known_token(setup, pass.pad)?;
    let model = frozen.load(dataset.longest())?;
    let mut count = Count::new(arguments.quiet || arguments.json, "samples", dataset.len() as u64);
    let evaluation = score(setup, &model, &dataset, pass, &mut |done| count.show(done))?;
    count.finish();
    if !evaluation.loss.is_finite() {
        return Err(Failure::new(
            format!("the loss is {}", evaluation.loss),
            "the model's weights or the adapter hold numbers that are none; fetch or train them again",
        ));
    }
    if arguments.json {
        let mut json = serde_json::to_value(evaluation).unwrap_or_default();
        json["truncated_samples"] = dataset.truncated().into();
        out(&format!("{json}\n"))?;
    } else {
        let cut = match dataset.truncated() {
            0 => String::new(),
            cut => format!(", {cut} of them cut to {} tokens", setup.data.context),
        };
        out(&format!(
            "loss {:.4}, perplexity {:.3} over {} scored tokens in {} samples{cut}\n",
            evaluation.loss, evaluation.perplexity, evaluation.scored_tokens, evaluation.samples
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
