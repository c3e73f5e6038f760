//! From a plan with one value for each setting to a setup: names looked up, defaults filled in.

use std::path::{Path, PathBuf};

use super::{Adapter, Budget, Data, Eval, Length, Lengths, Parallel, Quantize, Save, Serve, Setup, Train, Warmup};
use crate::device::{self, Device, DeviceError, DeviceKind};
use crate::model::{self, Architecture, Environment, Family, Found, Measure, ModelError, ThisCard};
use crate::plan::{
    self, Attention, CachePrecision, Checkpointing, Choice, DataFormat, DeviceMap, EngineName, Headroom, LossKind,
    LossOn, Offload, OptimizerKind, Padding, Plan, Precision, QuantizeKind, SampleOrder, Schedule, Script,
    ServePrecision, Storage, Targets, Upcast,
};
use crate::quantity::Bytes;

/// Context when a plan does not say: this, or the model's positions when they are fewer.
pub(crate) const DEFAULT_CONTEXT: u64 = 2048;
/// Samples that transformers' trainer evaluates together when it is not told.
const TRAINER_EVAL_BATCH: u32 = 8;

/// A setting that cannot be resolved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unresolved {
    /// Which lint rule it falls under: "unknown-model", "unknown-device", "unknown-target", "missing-setting", "unsupported-setting".
    pub rule: &'static str,
    /// The setting by its dotted path.
    pub setting: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The name that was probably meant.
    pub nearest: Option<String>,
}

impl Unresolved {
    fn new(rule: &'static str, setting: &str, message: impl Into<String>) -> Self {
        Self { rule, setting: setting.to_owned(), message: message.into(), help: None, nearest: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Resolves a plan whose settings have one value each (see [`crate::solve::setups`] for `fit` and `sweep`).
/// Paths are relative to `base`, the folder of the plan's file.
///
/// # Errors
/// Every setting that names something unknown, or that this version does not have.
pub fn resolve(plan: &Plan, base: &Path, environment: &Environment) -> Result<Setup, Vec<Unresolved>> {
    let mut problems = Vec::new();
    let found = match &one(&plan.model) {
        None => {
            problems.push(
                Unresolved::new("missing-setting", "model", format!("plan `{}` names no model", plan.name))
                    .help("add `model = \"HuggingFaceTB/SmolLM2-135M-Instruct\"`, or a folder with a `config.json`"),
            );
            None
        }
        Some(name) => model::find(name, base, environment).map_err(|error| problems.push(unknown_model(&error))).ok(),
    };
    setup(plan, base, found, environment, problems).map(|setup| measured(setup, environment))
}

/// The same for a model that was found already.
pub(crate) fn resolve_found(
    plan: &Plan,
    base: &Path,
    found: Found,
    environment: &Environment,
) -> Result<Setup, Vec<Unresolved>> {
    setup(plan, base, Some(found), environment, Vec::new()).map(|setup| measured(setup, environment))
}

fn setup(
    plan: &Plan,
    base: &Path,
    found: Option<Found>,
    environment: &Environment,
    mut problems: Vec<Unresolved>,
) -> Result<Setup, Vec<Unresolved>> {
    let device = device(plan, environment).map_err(|error| problems.push(unknown_device(&error))).ok();
    let (Some(found), Some(device)) = (found, device) else { return Err(problems) };

    let engine = one(&plan.engine).unwrap_or(EngineName::Memspec);
    let weights = one(&plan.weights).map(|path| base.join(path)).or(found.gguf).or(found.folder);
    let model = found.architecture;
    let train_block = plan.train.clone().unwrap_or_default();
    let precision = one(&train_block.precision).unwrap_or_else(|| default_precision(&device));
    let data = data(plan, base, &model);
    let adapter =
        plan.adapter.as_ref().and_then(|block| adapter(block, &model).map_err(|problem| problems.push(problem)).ok());
    let setup = Setup {
        name: plan.name.clone(),
        model_name: one(&plan.model).unwrap_or_default(),
        weights,
        hourly_price: one(&plan.hourly_price),
        engine,
        output: one(&plan.output).map(|path| base.join(path)),
        seed: one(&plan.seed).unwrap_or(42),
        trains: trains(plan),
        parallel: plan.parallel.as_ref().map(parallel),
        quantize: plan.quantize.as_ref().map(|block| quantize(block, engine, precision)),
        adapter,
        eval: eval(plan, base, engine),
        train: train(&train_block, engine, precision, model.layers),
        save: Save {
            every: plan.save.as_ref().and_then(|save| one(&save.every)).map_or(500, |steps| steps.0),
            keep: plan.save.as_ref().and_then(|save| one(&save.keep)).map_or(2, u64::from),
            load_best: plan.save.as_ref().and_then(|save| one(&save.load_best)).unwrap_or(false),
            merge: plan.save.as_ref().and_then(|save| one(&save.merge)).unwrap_or(false),
        },
        serve: plan.serve.as_ref().map(|block| serve(block, data.context)),
        budget: budget(plan, &device),
        resident_before: None,
        data,
        device,
        model,
    };
    unsupported(plan, &mut problems);
    if problems.is_empty() { Ok(setup) } else { Err(problems) }
}

/// The device that the plan names. `auto` is this machine: its card for engines that need one, or any where none is known; for the engine
/// `memspec` its card when whoever asks runs plans on it, else its processor. `cuda:0` is the card.
fn device(plan: &Plan, environment: &Environment) -> Result<Device, DeviceError> {
    let named = one(&plan.device).filter(|name| !name.0.eq_ignore_ascii_case("auto"));
    let on_card = matches!(one(&plan.engine), Some(EngineName::Trl | EngineName::Unsloth));
    let card = || environment.card.and_then(|ThisCard(find)| find());
    match named {
        Some(name) if matches!(name.0.to_lowercase().as_str(), "cuda" | "cuda:0") => match card() {
            Some(card) => Ok(card),
            None => device::find(&name.0),
        },
        Some(name) => device::find(&name.0),
        None if on_card => Ok(card().unwrap_or_else(device::any)),
        None => match card().filter(|_| environment.runs_on_card) {
            Some(card) => Ok(card),
            None => device::find("auto"),
        },
    }
}

/// With its data's lengths counted, where someone can.
fn measured(mut setup: Setup, environment: &Environment) -> Setup {
    match environment.measure.and_then(|Measure(count)| count(&setup)) {
        Some(Ok(lengths)) => {
            setup.data.drawn = lengths.drawn(&setup.data, setup.train.micro_batch);
            setup.data.lengths = Some(lengths);
        }
        Some(Err(why)) => setup.data.uncounted = Some(why),
        None => {}
    }
    setup
}

/// The value of a setting that has one.
fn one<T: Clone>(choice: &Option<Choice<T>>) -> Option<T> {
    choice.as_ref().and_then(Choice::one).cloned()
}

fn unknown_model(error: &ModelError) -> Unresolved {
    let problem = Unresolved::new("unknown-model", "model", error.to_string());
    match error {
        ModelError::Unknown { nearest, .. } => Unresolved {
            nearest: nearest.first().cloned(),
            ..problem.help("give a folder with the model's `config.json`, or a `.gguf` file")
        },
        _ => problem,
    }
}

fn unknown_device(error: &DeviceError) -> Unresolved {
    let problem = Unresolved::new("unknown-device", "device", error.to_string());
    match error {
        DeviceError::Unknown { nearest, .. } => Unresolved { nearest: nearest.first().cloned(), ..problem },
        _ => problem,
    }
}

fn default_precision(device: &Device) -> Precision {
    match device.kind {
        DeviceKind::Cpu => Precision::F32,
        _ if device.bf16 => Precision::Bf16,
        _ => Precision::Fp16,
    }
}

fn parallel(block: &plan::Parallel) -> Parallel {
    Parallel {
        kind: block.kind,
        gpus: one(&block.gpus).unwrap_or(1),
        nodes: one(&block.nodes).unwrap_or(1),
        reshard: one(&block.reshard).unwrap_or(true),
        offload: one(&block.offload) == Some(Offload::Host),
        wrapped_checkpointing: one(&block.wrapped_checkpointing).unwrap_or(false),
        context: one(&block.context).unwrap_or(1),
        load_whole: one(&block.load_whole).unwrap_or(false),
    }
}

fn quantize(block: &plan::Quantize, engine: EngineName, precision: Precision) -> Quantize {
    let default_double = block.kind == QuantizeKind::Nf4 && engine == EngineName::Memspec;
    Quantize {
        kind: block.kind,
        double: one(&block.double).unwrap_or(default_double),
        block: one(&block.block).unwrap_or(64),
        skip: one(&block.skip).unwrap_or_else(|| vec!["lm_head".to_owned()]),
        compute: one(&block.compute).unwrap_or(precision.half()),
        storage: one(&block.storage).unwrap_or(Storage::Uint8),
        experts: one(&block.experts).unwrap_or(false),
    }
}

fn adapter(block: &plan::Adapter, model: &Architecture) -> Result<Adapter, Unresolved> {
    let rank = one(&block.rank).unwrap_or(16);
    let targets = one(&block.targets).unwrap_or(Targets::AllLinear);
    let targets = model.resolve_targets(&targets).map_err(|unknown| Unresolved {
        nearest: unknown.nearest.first().cloned(),
        ..Unresolved::new("unknown-target", "adapter.targets", unknown.to_string())
    })?;
    Ok(Adapter {
        kind: block.kind,
        rank,
        alpha: one(&block.alpha).unwrap_or(2.0 * f64::from(rank)),
        rank_stabilized: one(&block.rank_stabilized).unwrap_or(false),
        dropout: one(&block.dropout).map_or(0.0, |percent| percent.0 / 100.0),
        targets,
        vision: one(&block.vision).unwrap_or(false),
        dtype: one(&block.dtype),
        train_whole: one(&block.train_whole).unwrap_or_default(),
    })
}

fn data(plan: &Plan, base: &Path, model: &Architecture) -> Data {
    let block = plan.data.clone().unwrap_or_default();
    let template = one(&block.template).map(|name| base.join(name.0));
    let context = one(&block.context).map_or_else(|| DEFAULT_CONTEXT.min(model.max_positions), |tokens| tokens.0);
    let declared = one(&block.samples).zip(one(&block.mean_length));
    Data {
        path: one(&block.path).map(|path| base.join(path)),
        format: one(&block.format).unwrap_or(DataFormat::Auto),
        template,
        loss_on: one(&block.loss_on).unwrap_or(LossOn::All),
        context,
        packing: one(&block.packing).unwrap_or(false),
        order: one(&block.order).unwrap_or(SampleOrder::Random),
        new_tokens: one(&block.new_tokens).unwrap_or_default(),
        pad_token: one(&block.pad_token),
        eos_token: one(&block.eos_token),
        padding: one(&block.padding).unwrap_or_else(|| padding(plan, model)),
        images: one(&block.images).unwrap_or(0),
        image_size: one(&block.image_size),
        drawn: None,
        lengths: declared.map(|(samples, mean)| Lengths::declared(samples, mean.0, context)),
        uncounted: None,
    }
}

/// Unsloth lays the samples of a batch in one row unless it is told not to (`unsloth/utils/padding_choice.py`); costed where its own layers run.
fn padding(plan: &Plan, model: &Architecture) -> Padding {
    let own = matches!(model.family, Family::Llama | Family::Mistral | Family::Qwen2 | Family::Qwen3);
    let quantized = plan.quantize.as_ref().is_none_or(|quantize| quantize.kind != QuantizeKind::Int8);
    if one(&plan.engine) == Some(EngineName::Unsloth) && plan.adapter.is_some() && quantized && own {
        Padding::None
    } else {
        Padding::Longest
    }
}

fn eval(plan: &Plan, base: &Path, engine: EngineName) -> Option<Eval> {
    let path = plan.data.as_ref().and_then(|data| one(&data.eval_path))?;
    let block = plan.eval.clone().unwrap_or_default();
    let train = plan.train.as_ref().and_then(|train| one(&train.micro_batch)).unwrap_or(1);
    let default = match engine {
        EngineName::Memspec => train,
        // `per_device_eval_batch_size` (`transformers/training_args.py`).
        EngineName::Trl => TRAINER_EVAL_BATCH,
        // Lowered to what training has (`unsloth/models/rl.py:2724`).
        EngineName::Unsloth => train.min(TRAINER_EVAL_BATCH),
    };
    Some(Eval {
        path: base.join::<PathBuf>(path),
        every: one(&block.every).map(|steps| steps.0),
        micro_batch: one(&block.micro_batch).unwrap_or(default),
    })
}

/// Anything about training, or nothing about serving either.
fn trains(plan: &Plan) -> bool {
    let training = plan.parallel.is_some()
        || plan.quantize.is_some()
        || plan.adapter.is_some()
        || plan.data.is_some()
        || plan.train.is_some()
        || plan.eval.is_some()
        || plan.save.is_some();
    training || plan.serve.is_none()
}

fn serve(block: &plan::Serve, context: u64) -> Serve {
    Serve {
        precision: one(&block.precision).unwrap_or(ServePrecision::F16),
        context: one(&block.context).map_or(context, |tokens| tokens.0),
        concurrency: one(&block.concurrency).unwrap_or(1),
        cache: one(&block.cache).unwrap_or(CachePrecision::F16),
    }
}

fn train(block: &plan::Train, engine: EngineName, precision: Precision, layers: u64) -> Train {
    let length = match (one(&block.steps), one(&block.epochs)) {
        (Some(steps), _) => Length::Steps(steps.0),
        (None, epochs) => Length::Epochs(epochs.unwrap_or(1.0)),
    };
    let warmup = match one(&block.warmup) {
        Some(plan::Warmup::Steps(steps)) => Warmup::Steps(steps),
        Some(plan::Warmup::Percent(percent)) => Warmup::Share(percent / 100.0),
        None => Warmup::Share(0.03),
    };
    let [beta1, beta2] = one(&block.betas).unwrap_or([0.9, 0.999]);
    let script = one(&block.script).unwrap_or(Script::Sft);
    // axolotl loads weights in the type of compute, also where all are trained (`axolotl/loaders/model.py:959`).
    let loaded = (script == Script::Axolotl).then(|| precision.half());
    Train {
        precision,
        base_dtype: one(&block.base_dtype).or(loaded),
        device_map: one(&block.device_map).unwrap_or(DeviceMap::None),
        script,
        upcast: one(&block.upcast).unwrap_or(Upcast::None),
        micro_batch: one(&block.micro_batch).unwrap_or(1),
        accumulate: one(&block.accumulate).unwrap_or(1),
        recomputed_blocks: match one(&block.checkpointing).unwrap_or(Checkpointing::None) {
            Checkpointing::None => 0,
            Checkpointing::Blocks(blocks) => u64::from(blocks),
            // `auto` starts here; `solve` takes blocks off for as long as the plan fits.
            Checkpointing::Block | Checkpointing::Auto => layers,
        },
        activation_offload: one(&block.activation_offload).unwrap_or(false),
        attention: match one(&block.attention).unwrap_or(Attention::Auto) {
            // What transformers takes when nothing is asked for (`PreTrainedModel._check_and_adjust_attn_implementation`).
            Attention::Auto if engine != EngineName::Memspec => Attention::Sdpa,
            attention => attention,
        },
        loss: one(&block.loss).unwrap_or(LossKind::Auto),
        liger: one(&block.liger).unwrap_or(false),
        expandable_segments: one(&block.expandable_segments).unwrap_or(false),
        tf32: one(&block.tf32).unwrap_or(false),
        use_cache: one(&block.use_cache).unwrap_or(false),
        optimizer: one(&block.optimizer).unwrap_or(OptimizerKind::Adamw),
        learning_rate: one(&block.learning_rate).unwrap_or(2e-4),
        schedule: one(&block.schedule).unwrap_or(Schedule::Cosine),
        warmup,
        weight_decay: one(&block.weight_decay).unwrap_or(0.0),
        betas: (beta1, beta2),
        clip: one(&block.clip).unwrap_or(1.0),
        length,
    }
}

fn budget(plan: &Plan, device: &Device) -> Budget {
    let block = plan.budget.clone().unwrap_or_default();
    let mut written = block.device_memory.map(|limit| limit.value.0);
    if device.kind == DeviceKind::Cpu
        && let Some(host) = block.host_memory
    {
        // The processor's memory is the host's.
        written = Some(written.unwrap_or(u64::MAX).min(host.value.0));
    }
    // A budget cannot give what the device does not have.
    let written = written.filter(|&bytes| bytes <= device.usable.0);
    let limit = written.unwrap_or(device.usable.0);
    let kept_free = match block.headroom.map(|limit| limit.value) {
        Some(Headroom::Percent(percent)) => (limit as f64 * percent.0 / 100.0) as u64,
        Some(Headroom::Bytes(bytes)) => bytes.0,
        None => 0,
    };
    Budget { device_memory: Bytes(limit.saturating_sub(kept_free)), written: written.is_some(), allocator: None }
}

/// Settings that are part of the language and that no engine costs or runs in this version; what one engine lacks, it refuses itself.
fn unsupported(plan: &Plan, problems: &mut Vec<Unresolved>) {
    if plan.eval.as_ref().is_some_and(|eval| eval.generate.is_some()) {
        let what = "answering a prompt while training is not supported in this version";
        problems.push(
            Unresolved::new("unsupported-setting", "eval.generate", what)
                .help("remove it, or wait for a later version"),
        );
    }
}
