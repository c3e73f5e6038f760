//! A setup: a plan with every choice made and every default explicit.

use std::path::PathBuf;

use crate::device::Device;
use crate::model::Architecture;
use crate::plan::{
    AdapterKind, DataFormat, EngineName, LossOn, OptimizerKind, Padding, Precision, QuantizeKind, Schedule,
};
use crate::quantity::Bytes;

/// What will run: nothing is left open.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The plan's name; of a sweep's runs, with the values that tell them apart.
    pub name: String,
    /// The model's shapes.
    pub model: Architecture,
    /// The model as the plan names it.
    pub model_name: String,
    /// Folder or GGUF file with the weights, when the plan names one or the model was found in one.
    pub weights: Option<PathBuf>,
    /// Where it runs.
    pub device: Device,
    /// Whose allocations are replayed.
    pub engine: EngineName,
    /// Where the adapter goes; `None`: a new folder under `runs/`.
    pub output: Option<PathBuf>,
    /// Seed of initial adapters and of the order of samples.
    pub seed: u64,
    /// How the base weights are packed; `None`: not.
    pub quantize: Option<Quantize>,
    /// The adapter; `None`: full fine-tuning.
    pub adapter: Option<Adapter>,
    /// The samples.
    pub data: Data,
    /// The training loop.
    pub train: Train,
    /// Checkpoints.
    pub save: Save,
    /// What it may take.
    pub budget: Budget,
}

/// Packed base weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantize {
    /// The code.
    pub kind: QuantizeKind,
    /// The maxima are quantized too.
    pub double: bool,
    /// Weights to one maximum.
    pub block: u32,
}

/// A low-rank adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    /// LoRA or a variant.
    pub kind: AdapterKind,
    /// Inner dimension.
    pub rank: u32,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Scale is alpha / sqrt(rank) (Kalajdzievski, 2023) instead of alpha / rank.
    pub rank_stabilized: bool,
    /// Share of the adapter's input that is dropped, 0 to 1.
    pub dropout: f64,
    /// Leaf names of the adapted linears: `q_proj` ...
    pub targets: Vec<String>,
    /// Modules trained whole beside the adapter.
    pub train_whole: Vec<String>,
}

impl Adapter {
    /// What the adapter's output is multiplied with.
    pub fn scale(&self) -> f64 {
        let rank = f64::from(self.rank);
        self.alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }
}

/// Samples, and how they are cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// The training file.
    pub path: Option<PathBuf>,
    /// The evaluation file.
    pub eval_path: Option<PathBuf>,
    /// How records look.
    pub format: DataFormat,
    /// A chat template to use in place of the model's.
    pub template: Option<PathBuf>,
    /// Which words are learnt.
    pub loss_on: LossOn,
    /// Longest sample kept, in tokens.
    pub context: u64,
    /// Samples are joined.
    pub packing: bool,
    /// How a micro batch's samples get one length.
    pub padding: Padding,
    /// Tokens of the longest micro batch that will be run, once the file is tokenized.
    pub longest: Option<u64>,
    /// Samples in the file, when known.
    pub samples: Option<u64>,
}

/// The training loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// Number format of compute.
    pub precision: Precision,
    /// Samples that go through the network together.
    pub micro_batch: u32,
    /// Micro batches to one optimizer step.
    pub accumulate: u32,
    /// How many blocks, the first ones, are computed again in backward.
    pub recomputed_blocks: u64,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How it falls.
    pub schedule: Schedule,
    /// How it rises.
    pub warmup: Warmup,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// AdamW's decay rates.
    pub betas: (f64, f64),
    /// Highest global norm of the gradient; 0: no clipping.
    pub clip: f64,
    /// How long.
    pub length: Length,
}

/// Steps over which the learning rate rises from zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Warmup {
    /// A share of all steps, 0 to 1.
    Share(f64),
    /// So many steps.
    Steps(u64),
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Length {
    /// Passes over the data.
    Epochs(f64),
    /// Optimizer steps.
    Steps(u64),
}

/// Checkpoints.
#[derive(Clone, Debug, PartialEq)]
pub struct Save {
    /// Steps from one to the next.
    pub every: u64,
    /// How many are kept.
    pub keep: u64,
}

/// What a run may take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Budget {
    /// On the device; `None`: what is usable there.
    pub device_memory: Option<Bytes>,
    /// Share of the limit that must stay free, 0 to 1.
    pub headroom: f64,
}

impl Setup {
    /// Tokens of the longest sample that a micro batch will hold, padding included.
    pub fn longest_sample(&self) -> u64 {
        match (self.data.padding, self.data.longest) {
            (Padding::Longest, Some(longest)) => longest.min(self.data.context),
            _ => self.data.context,
        }
    }

    /// How many blocks, the first ones, are computed again in backward.
    pub fn recomputed_blocks(&self) -> u64 {
        self.train.recomputed_blocks.min(self.model.layers)
    }

    /// Bytes that the run may take on its device.
    pub fn limit(&self) -> Bytes {
        let limit = self.budget.device_memory.unwrap_or(self.device.usable);
        Bytes((limit.0 as f64 * (1.0 - self.budget.headroom)) as u64)
    }
}
