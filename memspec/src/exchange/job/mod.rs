//! A measured run's `job`: the keys of the measuring script (data/README.md), as a plan.
//!
//! ```
//! use memspec::exchange::job::Job;
//!
//! let job = Job::read(&serde_json::json!({"model": "llama3-8b", "quant": "nf4", "batch": 2, "seq": 2048})).unwrap();
//! let setup = job.setup("H200").unwrap();
//! assert_eq!((setup.data.context, setup.train.micro_batch), (2048, 2));
//!
//! let error = Job::read(&serde_json::json!({"model": "llama3-8b", "bacth": 2})).unwrap_err();
//! assert!(error.to_string().ends_with("; did you mean `batch`?"));
//! ```

mod fields;
mod models;

use std::path::Path;

use serde_json::Value;

use crate::device;
use crate::model::{self, Architecture, Environment, Family, Found, PublishedQuantization};
use crate::plan::{
    self, AdapterKind, Attention, Checkpointing, Choice, EngineName, Float, ImageSize, LossKind, Offload,
    OptimizerKind, Padding, ParallelKind, Plan, Precision, QuantizeKind, Storage, Targets,
};
use crate::quantity::{Bytes, Percent, Steps, Tokens};
use crate::setup::{Setup, Unresolved, resolve_found};
use fields::{Fields, refuse};

pub use fields::JobError;
pub use models::names as measured_models;

/// Every key of a job. `gb`, `steps`, `trace` and `code` say how it was measured, and change nothing of what was.
pub const KEYS: &[&str] = &[
    "stack",
    "model",
    "batch",
    "seq",
    "accum",
    "ckpt",
    "optim",
    "precision",
    "quant",
    "dq",
    "method",
    "rank",
    "targets",
    "attn",
    "liger",
    "steps",
    "layers",
    "expandable",
    "cap_gib",
    "images",
    "image_px",
    "world",
    "shard",
    "reshard",
    "offload",
    "storage",
    "evaluate",
    "save",
    "merge",
    "loss",
    "packing",
    "lengths",
    "dropout",
    "dora",
    "whole",
    "adapter_dtype",
    "clip",
    "gb",
    "trace",
    "code",
    "text",
    "without",
];

/// Blocks that a job may ask for: far more than any model has, few enough to replay at once.
const MOST_LAYERS: u64 = 2048;

/// A job, understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The plan that does the same; its model is in `model`, since a job's may be no published one (`layers`).
    pub plan: Plan,
    /// The model.
    pub model: Architecture,
    /// What the caching allocator may hold (`cap_gib`); `None`: what the device has.
    pub allocator_limit: Option<Bytes>,
}

/// Who checkpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checkpoint {
    Nobody,
    Trainer,
    Unsloth,
    Fsdp,
}

/// Whose LoRA targets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Adapted {
    LanguageModel,
    QueryValue,
    Attention,
    /// Attention, and the parameters that experts are (`target_parameters`).
    Experts,
    Everything,
}

impl Job {
    /// Reads a job. Keys that it leaves out have the measuring script's defaults: TRL, LoRA of rank 16 on every linear of the language
    /// model, bf16, batch 1, 1024 tokens, checkpointing on, fused AdamW, SDPA.
    ///
    /// # Errors
    /// A key or value that no job has, by name.
    pub fn read(job: &Value) -> Result<Job, JobError> {
        let Value::Object(map) = job else { return Err(JobError::NotAnObject(fields::shown(job))) };
        let fields = Fields(map);
        fields.check(KEYS)?;
        let name = fields.text("model")?.ok_or_else(|| JobError::Missing {
            key: "model",
            why: format!("one of {}", models::names().collect::<Vec<_>>().join(", ")),
        })?;
        let mut model = models::find(name)?;
        if fields.get("layers").is_some() {
            model = models::with_layers(model, fields.count("layers", 0, 1, MOST_LAYERS)?);
        }
        let allocator_limit = fields.positive("cap_gib")?.map(gibibytes);
        fields.positive("gb")?;

        let engine = fields.word("stack", &[("trl", EngineName::Trl), ("unsloth", EngineName::Unsloth)])?;
        let precision = fields.word(
            "precision",
            &[
                ("bf16", Precision::Bf16),
                ("fp16", Precision::Fp16),
                ("fp32", Precision::F32),
                ("bf16-pure", Precision::Bf16Pure),
            ],
        )?;
        let parallel = parallel(&fields)?;
        let quantize = quantize(&fields, engine, precision)?;
        if fields.get("quant").is_some_and(|value| value == "mxfp4") {
            // The script has these checkpoints unpacked on load.
            if model.family != Family::GptOss {
                return Err(refuse("quant", &"mxfp4".into(), format!("none, nf4 or int8 for {name}")));
            }
            model.published_quantization = Some(PublishedQuantization::Mxfp4Experts);
        }
        let full = full(&fields)?;
        // A full fine-tune has no targets: the script's default may name linears that the model lacks.
        let adapter = if full { None } else { Some(adapter(&fields, &model, engine, precision, quantize.is_some())?) };
        let plan = Plan {
            name: format!("{name} as measured"),
            model: Some(name.into()),
            engine: Some(engine.into()),
            data: Some(data(&fields, &model)?),
            eval: Some(evaluation(&fields, engine)?),
            save: Some(saving(&fields)?),
            train: Some(train(&fields, engine, precision, parallel.as_ref())?),
            parallel,
            quantize,
            adapter,
            ..Default::default()
        };
        Ok(Job { plan, model, allocator_limit })
    }

    /// The setup of this job on a device of the catalog; of a name like `H200 under a limit` or `Tesla T4` the first word that is one counts.
    ///
    /// # Errors
    /// A device that the catalog lacks.
    pub fn setup(&self, device: &str) -> Result<Setup, Vec<Unresolved>> {
        let device = device.split_whitespace().find(|word| device::get(word).is_some()).unwrap_or(device);
        let plan = Plan { device: Some(device.into()), ..self.plan.clone() };
        let found = Found { architecture: self.model.clone(), folder: None, gguf: None, from: model::From::Catalog };
        let mut setup = resolve_found(&plan, Path::new(""), found, &Environment::default())?;
        setup.budget.allocator = self.allocator_limit;
        Ok(setup)
    }
}

/// GiB as bytes, cut to whole ones.
pub fn gibibytes(gib: f64) -> Bytes {
    Bytes((gib * (1u64 << 30) as f64) as u64)
}

fn one<T>(value: T) -> Option<Choice<T>> {
    Some(Choice::One(value))
}

fn count(fields: &Fields<'_>, key: &str, default: u64) -> Result<Option<Choice<u32>>, JobError> {
    Ok(one(fields.count(key, default, 1, 1 << 20)? as u32))
}

fn shard(fields: &Fields<'_>) -> Result<ParallelKind, JobError> {
    let words = [
        ("ddp", ParallelKind::Ddp),
        ("fsdp2", ParallelKind::Fsdp2),
        ("zero1", ParallelKind::Zero1),
        ("zero2", ParallelKind::Zero2),
        ("zero3", ParallelKind::Zero3),
        ("tp", ParallelKind::Tensor),
    ];
    fields.word("shard", &words)
}

/// Under FSDP 4-bit weights are stored as bf16 by default, since it shards floating types only.
fn sharded(fields: &Fields<'_>) -> Result<bool, JobError> {
    Ok(shard(fields)? == ParallelKind::Fsdp2)
}

fn parallel(fields: &Fields<'_>) -> Result<Option<plan::Parallel>, JobError> {
    let world = fields.count("world", 1, 1, 1 << 16)?;
    let (reshard, offload) = (fields.flag("reshard", true)?, fields.flag("offload", false)?);
    let kind = shard(fields)?;
    if world == 1 {
        return Ok(None);
    }
    if fields.get("shard").is_none() {
        return Err(JobError::Missing {
            key: "shard",
            why: format!("{world} GPUs share the work by ddp, fsdp2, zero1, zero2, zero3 or tp"),
        });
    }
    let wrapped = kind == ParallelKind::Fsdp2 && checkpoint(fields)? == Checkpoint::Fsdp;
    Ok(Some(plan::Parallel {
        kind,
        gpus: one(world as u32),
        nodes: None,
        reshard: one(reshard),
        offload: one(if offload && kind != ParallelKind::Ddp { Offload::Host } else { Offload::None }),
        wrapped_checkpointing: one(wrapped),
        load_whole: None,
        context: None,
    }))
}

fn quantize(fields: &Fields<'_>, engine: EngineName, precision: Precision) -> Result<Option<plan::Quantize>, JobError> {
    let kind = fields.word(
        "quant",
        &[("none", None), ("nf4", Some(QuantizeKind::Nf4)), ("int8", Some(QuantizeKind::Int8)), ("mxfp4", None)],
    )?;
    let double = fields.flag("dq", true)?;
    // Half precision has bf16's size, and FSDP shards both.
    let storages =
        [("uint8", Storage::Uint8), ("bfloat16", Storage::Bf16), ("float16", Storage::Bf16), ("float32", Storage::F32)];
    let storage = match fields.get("storage") {
        None if sharded(fields)? => Storage::Bf16,
        _ => fields.word("storage", &storages)?,
    };
    // Unsloth quantizes twice whatever is asked, computes in the type it was loaded in (the script's bf16), and stores bytes.
    let unsloth = engine == EngineName::Unsloth;
    Ok(kind.map(|kind| plan::Quantize {
        kind,
        double: one(kind == QuantizeKind::Nf4 && (double || unsloth)),
        compute: one(if precision == Precision::Fp16 && !unsloth { Float::Fp16 } else { Float::Bf16 }),
        storage: one(if unsloth { Storage::Uint8 } else { storage }),
        ..Default::default()
    }))
}

fn adapter(
    fields: &Fields<'_>,
    model: &Architecture,
    engine: EngineName,
    precision: Precision,
    quantized: bool,
) -> Result<plan::Adapter, JobError> {
    let adapted = fields.word(
        "targets",
        &[
            ("all", Adapted::LanguageModel),
            ("qv", Adapted::QueryValue),
            ("attn", Adapted::Attention),
            ("experts", Adapted::Experts),
            ("all-linear", Adapted::Everything),
        ],
    )?;
    let named: &[&str] = match adapted {
        Adapted::LanguageModel => &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        Adapted::Attention => &["q_proj", "k_proj", "v_proj", "o_proj"],
        Adapted::Experts => &["q_proj", "k_proj", "v_proj", "o_proj", "experts.gate_up_proj", "experts.down_proj"],
        Adapted::QueryValue | Adapted::Everything => &[],
    };
    // PEFT takes those of the names that the model has, as long as it has one.
    let has = |name: &&&str| model.has_target(name);
    let present: Vec<String> = named.iter().filter(has).map(|name| (*name).to_owned()).collect();
    let fused = model.family == Family::Phi3 && engine == EngineName::Trl;
    let targets = match adapted {
        Adapted::Everything => Targets::AllLinear,
        Adapted::QueryValue => Targets::QueryValue,
        // The script names Phi-3's four fused linears to TRL, and to Unsloth the seven of other models.
        Adapted::LanguageModel if fused => Targets::AllLinear,
        _ if present.is_empty() => {
            let value = fields.get("targets").cloned().unwrap_or_else(|| "all".into());
            return Err(refuse("targets", &value, format!("all-linear for {}, which has none of those", model.name)));
        }
        _ => Targets::Modules(present),
    };
    let rank = fields.count("rank", 16, 1, 1 << 16)? as u32;
    let dora = fields.flag("dora", false)?;
    let floats = [
        ("none", None),
        ("float32", Some(Float::F32)),
        ("bfloat16", Some(Float::Bf16)),
        ("float16", Some(Float::Fp16)),
    ];
    // TRL casts a quantized model's adapters to bf16, which its fp16 scaler cannot step: the script casts them to f32.
    let scaled = engine == EngineName::Trl && precision == Precision::Fp16 && quantized;
    Ok(plan::Adapter {
        kind: if dora { AdapterKind::Dora } else { AdapterKind::Lora },
        rank: one(rank),
        alpha: one(f64::from(rank)),
        targets: one(targets),
        vision: one(adapted == Adapted::Everything && model.vision.is_some()),
        dropout: one(Percent(100.0 * fields.number("dropout", 0.0, 0.0, 1.0)?)),
        train_whole: one(fields.list("whole")?),
        dtype: fields.word("adapter_dtype", &floats)?.or(scaled.then_some(Float::F32)).map(Choice::One),
        ..Default::default()
    })
}

fn data(fields: &Fields<'_>, model: &Architecture) -> Result<plan::Data, JobError> {
    let images = fields.count("images", 0, 0, 1 << 10)? as u32;
    let size = fields.get("image_px").map(|value| {
        let size = value.as_str().and_then(|text| text.parse::<ImageSize>().ok());
        let size = size.filter(|size| size.width.max(size.height) <= 1 << 16);
        size.ok_or_else(|| refuse("image_px", value, "a size in pixels such as \"1344x896\"".to_owned()))
    });
    let size = size.transpose()?;
    if images > 0 && model.vision.is_none() {
        return Err(refuse("images", &images.into(), format!("0 for {}, which has no vision tower", model.name)));
    }
    if images > 0 && size.is_none() {
        return Err(JobError::Missing { key: "image_px", why: "the images' size, such as \"1344x896\"".to_owned() });
    }
    // Rows that were tokenized before are padded under Unsloth, too; texts it lays in one row.
    let padding = if fields.flag("text", false)? { Padding::None } else { Padding::Longest };
    let context = fields.count("seq", 1024, 1, 1 << 26)?;
    // Mixed samples: every second one is a token shorter, so their mean is less than the longest.
    let shorter = fields.word("lengths", &[("full", 0), ("mixed", 1)])?;
    let evaluates = fields.count("evaluate", 0, 0, 1 << 20)? > 0;
    Ok(plan::Data {
        padding: one(padding),
        eval_path: evaluates.then(|| Choice::One("made up, as its samples".into())),
        context: one(Tokens(context)),
        packing: one(fields.flag("packing", false)?),
        samples: one(fields.count("batch", 1, 1, 1 << 20)? * fields.count("accum", 1, 1, 1 << 20)?),
        mean_length: one(Tokens(context - shorter.min(context - 1))),
        images: one(images),
        image_size: size.filter(|_| images > 0).map(Choice::One),
        ..Default::default()
    })
}

/// All weights are trained.
fn full(fields: &Fields<'_>) -> Result<bool, JobError> {
    fields.word("method", &[("lora", false), ("full", true)])
}

/// 0: no evaluation. 8 is the trainer's default, which Unsloth takes for unset.
fn evaluation(fields: &Fields<'_>, engine: EngineName) -> Result<plan::Eval, JobError> {
    let batch = fields.count("evaluate", 0, 0, 1 << 20)? as u32;
    let unset = batch == 0 || (engine == EngineName::Unsloth && batch == 8);
    Ok(plan::Eval { micro_batch: (!unset).then_some(Choice::One(batch)), ..Default::default() })
}

/// Every run's estimate has a checkpoint; whether the script wrote one decides what was measured.
fn saving(fields: &Fields<'_>) -> Result<plan::Save, JobError> {
    fields.flag("save", false)?;
    Ok(plan::Save { merge: one(fields.flag("merge", false)?), ..Default::default() })
}

fn checkpoint(fields: &Fields<'_>) -> Result<Checkpoint, JobError> {
    fields.word(
        "ckpt",
        &[
            ("true", Checkpoint::Trainer),
            ("false", Checkpoint::Nobody),
            ("unsloth", Checkpoint::Unsloth),
            ("fsdp", Checkpoint::Fsdp),
        ],
    )
}

fn train(
    fields: &Fields<'_>,
    engine: EngineName,
    precision: Precision,
    parallel: Option<&plan::Parallel>,
) -> Result<plan::Train, JobError> {
    let checkpoint = match checkpoint(fields)? {
        // The script gives `ckpt` to Unsloth's `get_peft_model`; without adapters its default stays, which is its own checkpoints.
        _ if engine == EngineName::Unsloth && full(fields)? => Checkpoint::Unsloth,
        checkpoint => checkpoint,
    };
    let wrapped = parallel.is_some_and(|parallel| parallel.wrapped_checkpointing == one(true));
    // "fsdp" turns the trainer's own off.
    let recomputed = matches!(checkpoint, Checkpoint::Trainer | Checkpoint::Unsloth) || wrapped;
    let attention = fields.word(
        "attn",
        &[
            ("sdpa", Attention::Sdpa),
            ("eager", Attention::Eager),
            ("flash2", Attention::Flash2),
            ("flash3", Attention::Flash3),
            ("flash_attention_2", Attention::Flash2),
            ("flash_attention_3", Attention::Flash3),
        ],
    )?;
    let liger = fields.flag("liger", false)?;
    Ok(plan::Train {
        precision: one(precision),
        micro_batch: count(fields, "batch", 1)?,
        accumulate: count(fields, "accum", 1)?,
        checkpointing: one(if recomputed { Checkpointing::Block } else { Checkpointing::None }),
        activation_offload: one(engine == EngineName::Unsloth && checkpoint == Checkpoint::Unsloth),
        // The script gives `attn` to TRL alone; Unsloth takes PyTorch's, of which kernels may be switched off.
        attention: one(match engine {
            EngineName::Unsloth => remaining_kernel(fields)?,
            _ => attention,
        }),
        loss: one(fields
            .word("loss", &[("chunked", LossKind::Auto), ("whole", LossKind::Whole), ("liger", LossKind::Liger)])?),
        clip: one(fields.number("clip", 1.0, 0.0, 1e9)?),
        liger: one(liger),
        expandable_segments: one(fields.flag("expandable", false)?),
        optimizer: one(fields.word("optim", OPTIMIZERS)?),
        steps: one(Steps(fields.count("steps", 3, 1, 1 << 32)?)),
        ..Default::default()
    })
}

/// The kernel of attention that is taken where others are switched off.
fn remaining_kernel(fields: &Fields<'_>) -> Result<Attention, JobError> {
    match fields.get("without") {
        None => Ok(Attention::Auto),
        Some(kernels) if *kernels == serde_json::json!(["cudnn"]) => Ok(Attention::Flash2),
        Some(kernels) if *kernels == serde_json::json!(["cudnn", "flash"]) => Ok(Attention::Efficient),
        Some(kernels) => Err(refuse("without", kernels, "[\"cudnn\"] or [\"cudnn\", \"flash\"]".to_owned())),
    }
}

/// Hugging Face's names (`transformers.training_args.OptimizerNames`) of the optimizers that are known.
const OPTIMIZERS: &[(&str, OptimizerKind)] = &[
    ("adamw_torch_fused", OptimizerKind::Adamw),
    ("adamw_torch", OptimizerKind::AdamwForeach),
    ("adamw_8bit", OptimizerKind::Adamw8bit),
    ("adamw_bnb_8bit", OptimizerKind::Adamw8bit),
    ("paged_adamw_8bit", OptimizerKind::PagedAdamw8bit),
    ("paged_adamw", OptimizerKind::PagedAdamw),
    ("paged_adamw_32bit", OptimizerKind::PagedAdamw),
    ("adafactor", OptimizerKind::Adafactor),
    ("sgd", OptimizerKind::Sgd),
    ("lion", OptimizerKind::Lion),
    ("lion_32bit", OptimizerKind::Lion),
];
