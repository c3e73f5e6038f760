//! Before a run: the tokenizer, the data in tokens, and what the run will draw from them.

use std::path::{Path, PathBuf};

use memspec::plan;
use memspec::setup::{Drawn, Setup};

use crate::data::{DataError, Dataset, Format, LossOn, Options, Order, Padding, Sampler};
use crate::monitor;
use crate::schedule;
use crate::step::{Batch, Packed};
use crate::template::{ChatTemplate, TemplateError};
use crate::tokenizer::{Tokenizer, TokenizerError};

/// Data and tokenizer, ready for a run.
#[derive(Debug)]
pub struct Prepared {
    /// The model's tokenizer.
    pub tokenizer: Tokenizer,
    /// The training samples.
    pub train: Dataset,
    /// The evaluation samples.
    pub eval: Option<Dataset>,
    /// Optimizer steps of the whole run.
    pub steps: u64,
}

/// Why a run cannot start.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The plan names no training file.
    #[error("plan `{plan}` names no data; add `data {{ path = \"train.jsonl\" }}`")]
    NoData {
        /// The plan.
        plan: String,
    },
    /// The weights are not on this machine.
    #[error("the weights of `{model}` are not here: it was found {found}, which has shapes only")]
    NoWeights {
        /// The model as the plan names it.
        model: String,
        /// Where its shapes came from.
        found: String,
    },
    /// The weights' path leads nowhere.
    #[error("no weights at {}", path.display())]
    MissingWeights {
        /// Where they were looked for.
        path: PathBuf,
    },
    /// A token that the model has no row for.
    #[error(
        "the tokenizer's token {token} is none of the model's {vocabulary}: the tokenizer is of another model; \
         copy tokenizer.json from the model's own hub page"
    )]
    OtherTokenizer {
        /// The token's number.
        token: u32,
        /// Rows of the model's embedding.
        vocabulary: u64,
    },
    /// The tokenizer.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// The chat template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Where the setup's weights are.
///
/// # Errors
/// A plan whose model is known by its shapes only, or a path that leads nowhere.
pub fn weights(setup: &Setup) -> Result<&Path, PrepareError> {
    let path = setup.weights.as_deref().ok_or_else(|| PrepareError::NoWeights {
        model: setup.model_name.clone(),
        found: "in the catalog".to_owned(),
    })?;
    if path.exists() { Ok(path) } else { Err(PrepareError::MissingWeights { path: path.to_owned() }) }
}

/// Tokenizes the data and enters in the setup what the run will draw from it, so that the promise is about this run.
///
/// # Errors
/// Missing weights or tokenizer, and whatever is wrong with the data, by file and line.
pub fn prepare(mut setup: Setup) -> Result<(Setup, Prepared), PrepareError> {
    let weights = weights(&setup)?;
    let path = setup.data.path.clone().ok_or_else(|| PrepareError::NoData { plan: setup.name.clone() })?;
    let tokenizer = Tokenizer::open(weights)?;
    let template = chat_template(&tokenizer, setup.data.template.as_deref())?;
    let options = options(&setup, template.as_ref());
    let train = Dataset::load(&path, &tokenizer, &options)?;
    let eval = match &setup.eval {
        Some(eval) => Some(Dataset::load(&eval.path, &tokenizer, &options)?),
        None => None,
    };
    for dataset in std::iter::once(&train).chain(&eval) {
        known_token(&setup, dataset.highest_id())?;
    }
    known_token(&setup, tokenizer.pad())?;
    let steps = schedule::total_steps(&setup.train, |epochs| sampler(&setup, &train).batches(epochs));
    setup.data.drawn = Some(drawn(&setup, &train, eval.as_ref(), steps));
    setup.resident_before = monitor::beside_tensors();
    Ok((setup, Prepared { tokenizer, train, eval, steps }))
}

/// Refuses a token that the model's embedding has no row for.
///
/// # Errors
/// A tokenizer that is of another model.
pub fn known_token(setup: &Setup, token: u32) -> Result<(), PrepareError> {
    let vocabulary = setup.model.vocab;
    if u64::from(token) < vocabulary { Ok(()) } else { Err(PrepareError::OtherTokenizer { token, vocabulary }) }
}

/// The template that the plan names, or the model's.
pub fn chat_template(tokenizer: &Tokenizer, file: Option<&Path>) -> Result<Option<ChatTemplate>, TemplateError> {
    match file {
        Some(file) => {
            let text =
                std::fs::read_to_string(file).map_err(|source| TemplateError::Io { path: file.to_owned(), source })?;
            tokenizer.compile(&file.display().to_string(), &text).map(Some)
        }
        None if tokenizer.has_chat_template() => tokenizer.chat_template().map(Some),
        None => Ok(None),
    }
}

/// How the plan's data is read.
pub fn options<'a>(setup: &Setup, template: Option<&'a ChatTemplate>) -> Options<'a> {
    Options {
        format: match setup.data.format {
            plan::DataFormat::Chat => Format::Chat,
            plan::DataFormat::Instruction => Format::Instruction,
            plan::DataFormat::Text => Format::Text,
            plan::DataFormat::Auto => Format::Auto,
        },
        loss_on: match setup.data.loss_on {
            plan::LossOn::All => LossOn::All,
            plan::LossOn::Assistant => LossOn::Assistant,
        },
        context: setup.data.context as usize,
        template,
    }
}

/// The sampler of a run over its training data, from the start.
pub fn sampler(setup: &Setup, train: &Dataset) -> Sampler {
    let packing = setup.data.packing.then(|| train.packing(setup.data.context as usize));
    let order = match setup.data.order {
        plan::SampleOrder::Random => Order::Random,
        plan::SampleOrder::Sequential => Order::Sequential,
        plan::SampleOrder::ByLength => Order::ByLength(train.lengths()),
    };
    Sampler::new(train.len(), packing, order, setup.train.micro_batch as usize, setup.seed)
}

fn padding(setup: &Setup) -> Padding {
    match setup.data.padding {
        // The engine `memspec` refuses batches without padding.
        plan::Padding::Longest | plan::Padding::None => Padding::Longest,
        plan::Padding::Max => Padding::Max,
    }
}

/// Goes through the whole order of samples without their tokens.
fn drawn(setup: &Setup, train: &Dataset, eval: Option<&Dataset>, steps: u64) -> Drawn {
    let mut sampler = sampler(setup, train);
    let (mut longest, mut largest) = (0, (0, 0));
    let micro_batch = u64::from(setup.train.micro_batch);
    let most_rows = if setup.data.packing { micro_batch } else { micro_batch.min(train.len() as u64) };
    let most_columns = match padding(setup) {
        Padding::Longest if !setup.data.packing => train.longest() as u64,
        _ => setup.data.context,
    };
    // An epoch's batches repeat in another order with other neighbours, so every epoch that will run is looked at,
    // until the largest batch there can be was seen.
    for _ in 0..steps.saturating_mul(setup.train.accumulate.into()) {
        let samples = sampler.next_batch();
        let columns = match padding(setup) {
            Padding::Longest => samples.iter().map(|row| train.row_length(row)).max().unwrap_or(0) as u64,
            Padding::Max => most_columns,
        };
        let rows = samples.len() as u64;
        longest = columns.max(longest);
        if rows * columns > largest.0 * largest.1 {
            largest = (rows, columns);
        }
        if largest == (most_rows, most_columns) {
            break;
        }
    }
    // Positions begin anew with each packed sample.
    let longest = if setup.data.packing { train.longest() as u64 } else { longest };
    // The rotary tables must reach as far as evaluation does.
    let longest = longest.max(eval.map_or(0, |eval| eval.longest() as u64));
    Drawn { samples: train.len() as u64, tokens: train.tokens() as u64, longest, largest }
}

/// Rows of samples as the network takes them: ids, and for each token the one that follows where it is scored. With the tokens in them.
pub fn batch(setup: &Setup, dataset: &Dataset, rows: &[Vec<usize>], pad: u32) -> (Batch, usize) {
    let rows = dataset.batch(rows, padding(setup), pad);
    let mut targets = vec![-1; rows.ids.len()];
    // No row begins with a token that is scored.
    for at in (1..rows.ids.len()).filter(|&at| rows.scored[at]) {
        targets[at - 1] = rows.ids[at] as i32;
    }
    let tokens = rows.lengths.iter().sum();
    let whole = |numbers: Vec<u32>| numbers.into_iter().map(|number| number as i32).collect();
    let packed = setup.data.packing.then(|| Packed { starts: whole(rows.starts), longest: rows.longest });
    (Batch { ids: whole(rows.ids), targets, context: rows.columns, packed }, tokens)
}
