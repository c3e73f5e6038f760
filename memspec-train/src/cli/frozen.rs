//! The model of a plan that is only read: nothing of it is trained, with or without the adapter of a run.

use std::path::{Path, PathBuf};

use memspec::plan::{AdapterKind, OptimizerKind, Padding};
use memspec::setup::{self, Setup};

use super::failure::Failure;
use super::open::open;
use super::print::note;
use crate::checkpoint::Checkpoint;
use crate::devices::place;
use crate::kernels::place::Place;
use crate::network::Model;
use crate::network::load::{Weights, load};
use crate::output::read_adapter;
use crate::peft::Adapter;
use crate::prepare::{known_token, weights};
use crate::tokenizer::Tokenizer;

/// A model that answers or is scored.
pub(super) struct Frozen {
    /// Its plan, with the adapter's settings.
    pub(super) setup: Setup,
    weights: PathBuf,
    /// Its tokenizer.
    pub(super) tokenizer: Tokenizer,
    adapter: Option<PathBuf>,
}

impl Frozen {
    /// The model of a plan, with an adapter of a run where one is named. Nothing is trained, so nothing is kept for that.
    pub(super) fn open(plan: &Path, name: Option<&str>, adapter: Option<&Path>) -> Result<Self, Failure> {
        let opened = open(plan, name)?;
        let Some(resolved) = opened.resolved.first() else {
            return Err(Failure::new("the plan has no setup", "give its `sweep` at least one value"));
        };
        let mut setup = resolved.setup.clone();
        setup.train.optimizer = OptimizerKind::Sgd;
        if let Err(error) = memspec::cost::estimate(&setup) {
            return Err(opened.unsupported(&resolved.plan.name, &error));
        }
        // Without a folder an adapter that adapts nothing: the base model, frozen.
        setup.adapter = Some(match adapter {
            Some(folder) => {
                let help = "`--adapter` takes the folder of a run";
                let config = Adapter::open(folder).map_err(|error| Failure::new(error, help))?.config;
                let kind = if config.use_dora { AdapterKind::Dora } else { AdapterKind::Lora };
                frozen_adapter(kind, config.r, config.lora_alpha, config.use_rslora, config.target_modules)
            }
            None => frozen_adapter(AdapterKind::Lora, 1, 1.0, false, Vec::new()),
        });
        // Samples are filled to the longest of their batch: the model gets positions for no more, and padding changes no figure.
        setup.data.padding = Padding::Longest;
        let weights = weights(&setup)?.to_owned();
        let tokenizer = Tokenizer::open(&weights)?;
        Ok(Self { setup, weights, tokenizer, adapter: adapter.map(Path::to_owned) })
    }

    /// A prompt's tokens, which the model has rows and positions for.
    pub(super) fn prompt(&self, text: &str) -> Result<Vec<u32>, Failure> {
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

    /// Loads the model with positions for `tokens`, or for as many as it has: on the plan's device, or on the CPU where that cannot be used.
    pub(super) fn load(&self, tokens: usize) -> Result<Model, Failure> {
        let mut setup = self.setup.clone();
        setup.data.context = self.setup.model.max_positions.min(tokens as u64);
        let checkpoint = Weights::Checkpoint(Box::new(Checkpoint::open(&self.weights)?));
        let place = place(&setup).unwrap_or_else(|reason| {
            note(&format!("{reason}; computing on the CPU"));
            Place::Cpu
        });
        let mut model = load(&setup, &checkpoint, place, &mut |_| {})?;
        if let Some(folder) = &self.adapter {
            read_adapter(folder, &mut model)?;
        }
        Ok(model)
    }
}

/// An adapter whose settings are those of its own file, whatever the plan trains.
fn frozen_adapter(
    kind: AdapterKind,
    rank: u32,
    alpha: f64,
    rank_stabilized: bool,
    targets: Vec<String>,
) -> setup::Adapter {
    setup::Adapter {
        kind,
        rank,
        alpha,
        rank_stabilized,
        dropout: 0.0,
        targets,
        vision: false,
        dtype: None,
        train_whole: Vec::new(),
    }
}
