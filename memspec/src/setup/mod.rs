//! A setup: a plan with every choice made and every default explicit.

mod lengths;
mod resolve;
mod verify;

use std::path::PathBuf;

use serde::Serialize;

use crate::device::Device;
use crate::model::Architecture;
use crate::plan::{
    AdapterKind, Attention, CachePrecision, DataFormat, DeviceMap, EngineName, Float, ImageSize, LossKind, LossOn,
    OptimizerKind, Padding, ParallelKind, Precision, QuantizeKind, SampleOrder, Schedule, Script, ServePrecision,
    Storage, Upcast,
};
use crate::quantity::{Bytes, Money};

pub use lengths::{Bin, Lengths, Padded};
#[cfg(feature = "yaml")]
pub(crate) use resolve::DEFAULT_CONTEXT;
pub(crate) use resolve::resolve_found;
pub use resolve::{Unresolved, resolve};
pub use verify::{TooBig, Verified, VerifyError};

/// What will run: nothing is left open.
#[derive(Clone, Debug, Serialize)]
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
    /// What an hour of all its devices costs; `None`: what the catalog says.
    pub hourly_price: Option<Money>,
    /// Whose allocations are replayed.
    pub engine: EngineName,
    /// Where the adapter goes; `None`: a new folder under `runs/`.
    pub output: Option<PathBuf>,
    /// Seed of initial adapters and of the order of samples.
    pub seed: u64,
    /// It trains. A plan that has a `serve` block and nothing about training only serves, and that is what it costs.
    pub trains: bool,
    /// The devices that share the work; `None`: one does it.
    pub parallel: Option<Parallel>,
    /// How the base weights are packed; `None`: not.
    pub quantize: Option<Quantize>,
    /// The adapter; `None`: full fine-tuning.
    pub adapter: Option<Adapter>,
    /// The samples.
    pub data: Data,
    /// The training loop.
    pub train: Train,
    /// Evaluation while training; `None`: none.
    pub eval: Option<Eval>,
    /// Checkpoints.
    pub save: Save,
    /// Inference with the result, to be costed; `None`: not asked for.
    pub serve: Option<Serve>,
    /// What it may take.
    pub budget: Budget,
    /// Bytes that the process holds before it loads the model, where the process that asks is the one that will train.
    pub resident_before: Option<u64>,
}

/// Several devices sharing the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parallel {
    /// How.
    pub kind: ParallelKind,
    /// Devices in each machine.
    pub gpus: u32,
    /// Machines.
    pub nodes: u32,
    /// Devices that share the tokens of each sample.
    pub context: u32,
    /// Gathered parameters are dropped again after the forward pass.
    pub reshard: bool,
    /// Parameters and optimizer states rest in host memory.
    pub offload: bool,
    /// Blocks are checkpointed by FSDP's wrapper of each (accelerate's `fsdp_activation_checkpointing`), not by the model.
    pub wrapped_checkpointing: bool,
    /// Each device holds the whole model until FSDP takes its parts.
    pub load_whole: bool,
}

impl Parallel {
    /// Devices in all.
    pub fn world(&self) -> u64 {
        u64::from(self.gpus) * u64::from(self.nodes)
    }

    /// Runs shared like this were measured: on two cards of one machine.
    pub(crate) fn is_measured(self) -> bool {
        matches!(self.kind, ParallelKind::Ddp | ParallelKind::Fsdp2)
            && (self.gpus, self.nodes, self.context) == (2, 1, 1)
    }
}

/// Packed base weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantize {
    /// The code.
    pub kind: QuantizeKind,
    /// The maxima are quantized too.
    pub double: bool,
    /// Weights to one maximum.
    pub block: u32,
    /// Leaf names of linears that stay dense.
    pub skip: Vec<String>,
    /// The type that weights are unpacked to.
    pub compute: Float,
    /// The type of the tensors that hold the packed weights.
    pub storage: Storage,
    /// The experts of a mixture are packed, too.
    pub experts: bool,
}

/// A low-rank adapter.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// The vision tower's linears are adapted too.
    pub vision: bool,
    /// Type of the adapter's matrices; `None`: the engine's own choice.
    pub dtype: Option<Float>,
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Data {
    /// The training file.
    pub path: Option<PathBuf>,
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
    /// In what order they are trained on.
    pub order: SampleOrder,
    /// Words that the vocabulary gets.
    pub new_tokens: Vec<String>,
    /// The token that samples are filled up with; `None`: the tokenizer's.
    pub pad_token: Option<String>,
    /// The token that ends an answer; `None`: the tokenizer's.
    pub eos_token: Option<String>,
    /// How a micro batch's samples get one length.
    pub padding: Padding,
    /// Images in each sample.
    pub images: u32,
    /// Their size, before the processor rounds it to its patches; `None` where there are no images.
    pub image_size: Option<ImageSize>,
    /// What the run will draw, once the file is tokenized.
    pub drawn: Option<Drawn>,
    /// How long the samples are: measured, or as the plan says; `None`: not known.
    pub lengths: Option<Lengths>,
    /// Why the file, which is here, was not measured.
    pub uncounted: Option<String>,
}

/// The micro batches that a run will draw from its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Drawn {
    /// Samples in the file.
    pub samples: u64,
    /// Tokens in the file.
    pub tokens: u64,
    /// Tokens of the longest sample of any micro batch, padding included.
    pub longest: u64,
    /// Samples and tokens a sample of the micro batch with the most tokens.
    pub largest: (u64, u64),
}

/// The training loop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Train {
    /// Number format of compute.
    pub precision: Precision,
    /// The type that dense weights are loaded and kept in; `None`: the engine's own choice.
    pub base_dtype: Option<Float>,
    /// Where `from_pretrained` puts the model.
    pub device_map: DeviceMap,
    /// The script around the model.
    pub script: Script,
    /// Which parameters that are not packed are cast to float32.
    pub upcast: Upcast,
    /// Samples that go through the network together.
    pub micro_batch: u32,
    /// Micro batches to one optimizer step.
    pub accumulate: u32,
    /// How many blocks, the first ones, are computed again in backward.
    pub recomputed_blocks: u64,
    /// The inputs of recomputed blocks are kept in host memory.
    pub activation_offload: bool,
    /// How attention is computed; never `Auto` for the engines `trl` and `unsloth`.
    pub attention: Attention,
    /// How logits and loss are formed.
    pub loss: LossKind,
    /// Liger's fused kernels compute norms, RoPE and the feed-forward part.
    pub liger: bool,
    /// PyTorch's allocator grows its segments (`expandable_segments:True`).
    pub expandable_segments: bool,
    /// Factors of float32 products are rounded to TF32.
    pub tf32: bool,
    /// The model is asked for cached keys and values.
    pub use_cache: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warmup {
    /// A share of all steps, 0 to 1.
    Share(f64),
    /// So many steps.
    Steps(u64),
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Length {
    /// Passes over the data.
    Epochs(f64),
    /// Optimizer steps.
    Steps(u64),
}

/// Evaluation while training.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Eval {
    /// The evaluation file.
    pub path: PathBuf,
    /// Steps from one evaluation to the next; there is always one at the end.
    pub every: Option<u64>,
    /// Samples that go through the network together.
    pub micro_batch: u32,
}

/// Checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Save {
    /// Steps from one to the next.
    pub every: u64,
    /// How many are kept.
    pub keep: u64,
    /// The best checkpoint is loaded when training is over.
    pub load_best: bool,
    /// The adapter is saved merged into the base, too.
    pub merge: bool,
}

/// Inference with the result, to be costed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Serve {
    /// The type of the weights.
    pub precision: ServePrecision,
    /// Tokens of one conversation.
    pub context: u64,
    /// Conversations at once.
    pub concurrency: u32,
    /// The type of cached keys and values.
    pub cache: CachePrecision,
}

/// What a run may take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Budget {
    /// On the device, headroom taken off.
    pub device_memory: Bytes,
    /// The limit is the plan's own; else it is what the device has.
    pub written: bool,
    /// The most that PyTorch's caching allocator may hold, in place of what the process's context leaves of `device_memory`
    /// (`torch.cuda.set_per_process_memory_fraction`); `None`: no limit of its own.
    pub allocator: Option<Bytes>,
}

impl Setup {
    /// Tokens of the longest sample that a micro batch will hold, padding included: the context, until the data are known.
    pub fn longest_sample(&self) -> u64 {
        self.data.drawn.map_or(self.data.context, |drawn| drawn.longest)
    }

    /// Samples, and tokens of each, of the micro batch with the most tokens.
    pub fn largest_batch(&self) -> (u64, u64) {
        self.data.drawn.map_or((u64::from(self.train.micro_batch), self.data.context), |drawn| drawn.largest)
    }

    /// Samples and tokens of a batch of the evaluation, where there is one. How long its samples are is not counted: as long as is kept.
    pub fn evaluation_batch(&self) -> Option<(u64, u64)> {
        self.eval.as_ref().map(|eval| (u64::from(eval.micro_batch), self.data.context))
    }

    /// Samples of a micro batch may differ in length, so that some are filled up: unless they are packed, or known to be all as long as the longest.
    pub fn fills_samples(&self) -> bool {
        self.fills_batch(self.largest_batch().0)
    }

    /// The same of a batch of so many samples.
    pub fn fills_batch(&self, samples: u64) -> bool {
        let alone = samples == 1 && self.data.padding == Padding::Longest;
        let equal = || self.data.lengths.as_ref().is_some_and(|lengths| lengths.all_have(self.longest_sample()));
        !self.data.packing && !alone && !equal()
    }

    /// The module of this name is trained whole beside the adapter.
    pub fn trains_whole(&self, module: &str) -> bool {
        let whole = self.adapter.iter().flat_map(|adapter| &adapter.train_whole);
        whole.into_iter().any(|name| name.rsplit('.').next() == Some(module))
    }

    /// Devices that share the work; 1 without `parallel`.
    pub fn world(&self) -> u64 {
        self.parallel.map_or(1, |parallel| parallel.world())
    }

    /// Micro batches that are trained side by side: one on each device, unless several share its tokens or its linears.
    pub fn copies(&self) -> u64 {
        let sharing = self.parallel.filter(|parallel| parallel.kind != ParallelKind::Tensor);
        sharing.map_or(1, |parallel| (parallel.world() / u64::from(parallel.context)).max(1))
    }

    /// Tokens that one optimizer step trains at most, of all devices that have a batch of their own.
    pub fn tokens_per_step(&self) -> u64 {
        u64::from(self.train.micro_batch) * u64::from(self.train.accumulate) * self.data.context * self.copies()
    }

    /// How many blocks, the first ones, are computed again in backward.
    pub fn recomputed_blocks(&self) -> u64 {
        self.train.recomputed_blocks.min(self.model.layers)
    }
}
