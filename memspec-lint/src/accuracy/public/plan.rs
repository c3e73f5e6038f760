//! A published run as a plan: what its source says, and what it leaves to be assumed.

use std::path::Path;

use memspec::model::{self, Environment};
use memspec::plan::{self, AdapterKind, Choice, EngineName, ParallelKind, Plan, QuantizeKind, Targets};
use memspec::setup::{Setup, resolve};

use super::record::Record;

/// A run that was understood.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) setup: Setup,
    /// What the row does not say, and what was taken.
    pub(super) assumed: Vec<String>,
}

/// Why a row says too little, or asks for what no engine costs.
pub(super) type NotRead = String;

/// Reads a record.
pub(super) fn read(record: &Record) -> Result<Reading, NotRead> {
    let script = Script::of(record)?;
    let mut reader = Reader { plan: Plan::default(), assumed: script.assumed() };
    reader.model(record)?;
    reader.method(record, script)?;
    reader.work(record, script)?;
    reader.sharing(record)?;
    let setup = resolve(&reader.plan, Path::new(""), &Environment::default())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(Reading { setup, assumed: reader.assumed })
}

/// Whose loop ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// fitcheck's: transformers, PEFT and bitsandbytes in a loop of its own, no autocast, AdamW's default.
    Fitcheck,
    /// PEFT's method comparison: the same on 16 bit weights.
    Comparison,
    /// AnswerDotAI's `fsdp_qlora`: transformers' layers under DDP or FSDP 1.
    FsdpQlora,
    /// litgpt's: its own layers, 16 bit throughout.
    Litgpt,
    /// torchtune's and torchtitan's: their own layers.
    Torch,
    /// Unsloth's.
    Unsloth,
    /// transformers' Trainer with PEFT and bitsandbytes, as Unsloth and Liger compare themselves with.
    Trainer,
    /// axolotl's, on transformers' Trainer.
    Axolotl,
}

impl Script {
    fn of(record: &Record) -> Result<Self, NotRead> {
        match record.source_set.as_str() {
            "fitcheck" | "fitcheck-boundary" => Ok(Self::Fitcheck),
            "peft-metamathqa" => Ok(Self::Comparison),
            "fsdp_qlora" => Ok(Self::FsdpQlora),
            "litgpt-resource" | "litgpt-confighub" => Ok(Self::Litgpt),
            "torchtune" | "torchtitan" => Ok(Self::Torch),
            "unsloth-readme" if record.framework.to_lowercase().contains("unsloth") => Ok(Self::Unsloth),
            "unsloth-readme" | "liger-hf-example" if !record.framework.contains(" liger") => Ok(Self::Trainer),
            "axolotl-examples" => Ok(Self::Axolotl),
            other => Err(format!("no engine costs what `{other}` ran")),
        }
    }

    fn assumed(self) -> Vec<String> {
        let text = match self {
            Self::Fitcheck => return Vec::new(),
            Self::Comparison => "the outputs live until the next step, as in a loop of one's own",
            Self::FsdpQlora => "the script's default dropout of adapters",
            Self::Litgpt => "litgpt's layers allocate as transformers' do",
            Self::Torch => "the framework's own layers allocate as transformers' do",
            Self::Unsloth => "the release of Unsloth allocates as the one that was read does",
            Self::Trainer => "transformers' Trainer with float32 norms, embedding and head of a quantized model",
            Self::Axolotl => "axolotl allocates as TRL does",
        };
        vec![text.to_owned()]
    }
}

struct Reader {
    plan: Plan,
    assumed: Vec<String>,
}

impl Reader {
    fn set(&mut self, path: &str, value: impl ToString) -> Result<(), NotRead> {
        self.plan.set(path, &value.to_string())
    }

    fn assume(&mut self, path: &str, value: impl ToString, text: &str) -> Result<(), NotRead> {
        self.assumed.push(text.to_owned());
        self.set(path, value)
    }

    fn model(&mut self, record: &Record) -> Result<(), NotRead> {
        let name = hub_name(&record.model).ok_or_else(|| format!("`{}` is not in the catalog", record.model))?;
        self.set("model", name)?;
        match device_name(&record.gpu) {
            Some(device) => self.set("device", device),
            None => self.assume("device", "a100-80", &format!("the card `{}` is an A100 of 80 GB", record.gpu)),
        }
    }

    fn method(&mut self, record: &Record, script: Script) -> Result<(), NotRead> {
        let method = record.method.to_lowercase();
        if !matches!(method.as_str(), "lora" | "qlora" | "full" | "full(pretrain)" | "peft:lora") {
            return Err(format!("the method `{}` is not costed", record.method));
        }
        let engine = if script == Script::Unsloth { EngineName::Unsloth } else { EngineName::Trl };
        self.plan.engine = Some(Choice::One(engine));
        self.quantize(record, &method)?;
        if method.starts_with("full") {
            return Ok(());
        }
        self.plan.adapter = Some(plan::Adapter { kind: AdapterKind::Lora, ..Default::default() });
        match Record::count(&record.lora_rank) {
            Some(rank) => self.set("adapter.rank", rank)?,
            None => self.assume("adapter.rank", 16, "rank not stated: 16")?,
        }
        let targets = targets(&record.lora_targets);
        if targets.is_none() {
            self.assumed.push("targets not stated: every linear".to_owned());
        }
        if let Some(adapter) = &mut self.plan.adapter {
            adapter.targets = Some(Choice::One(targets.unwrap_or(Targets::AllLinear)));
        }
        Ok(())
    }

    fn quantize(&mut self, record: &Record, method: &str) -> Result<(), NotRead> {
        let quant = record.quant.to_lowercase();
        let kind = match () {
            () if quant.contains("torchao") => return Err("torchao's NF4 is not costed".to_owned()),
            () if quant.contains("nf4") => QuantizeKind::Nf4,
            () if quant.contains("fp4") => QuantizeKind::Fp4,
            () if quant.contains("int8") => QuantizeKind::Int8,
            () if method == "qlora" => {
                self.assumed.push("quantization not stated: NF4".to_owned());
                QuantizeKind::Nf4
            }
            () if matches!(quant.as_str(), "" | "none") => return Ok(()),
            () => return Err(format!("the quantization `{}` is not costed", record.quant)),
        };
        self.plan.quantize = Some(plan::Quantize { kind, ..Default::default() });
        self.set("quantize.double", quant.contains("dq") || record.double_quant == "True")
    }

    fn work(&mut self, record: &Record, script: Script) -> Result<(), NotRead> {
        match Record::count(&record.batch_size) {
            Some(batch) => self.set("train.micro_batch", batch)?,
            None => return Err("no batch size".to_owned()),
        }
        match Record::count(&record.seq_len) {
            Some(tokens) => self.set("data.context", format!("{tokens}tok"))?,
            None => return Err("no context".to_owned()),
        }
        // Unsloth's comparisons differ by dataset alone.
        if record.notes.starts_with("dataset ") {
            return Err("how long its samples are is not known".to_owned());
        }
        if record.seq_kind.contains("max") {
            self.assumed.push("the longest sample has the context's length".to_owned());
        }
        // litgpt fills samples and needs no mask for that.
        if record.seq_kind.contains("fixed") || script == Script::Litgpt {
            self.set("data.samples", 1000)?;
            self.set("data.mean_length", format!("{}tok", Record::count(&record.seq_len).unwrap_or(0)))?;
        } else if record.seq_kind == "packed" {
            self.set("data.packing", true)?;
        }
        self.set("train.checkpointing", checkpointing(record, script)?)?;
        self.set("train.optimizer", optimizer(record, script)?)?;
        let precision = record.compute_precision.to_lowercase();
        let half = precision.contains("fp16");
        let (words, pure) = if half { ("fp16", "fp16_pure") } else { ("bf16", "bf16_pure") };
        let eager = record.attention.contains("eager");
        match script {
            Script::Fitcheck => {
                self.set("train.precision", pure)?;
                self.set("train.script", "loop")?;
                // On a T4 the script pins the memory-efficient kernel and repeats grouped heads for it.
                self.set("train.attention", if eager { "eager" } else { "efficient" })?;
                if self.plan.quantize.is_some() {
                    self.set("train.upcast", "unpacked")?;
                }
            }
            Script::Comparison | Script::Litgpt => {
                self.set("train.precision", pure)?;
                self.set("train.script", "loop")?;
            }
            Script::FsdpQlora => {
                // `--precision bf16`: weights, adapters and states.
                self.set("train.precision", pure)?;
                self.set("train.script", "loop")?;
                self.set("adapter.dtype", "bf16")?;
                self.set("adapter.dropout", "10%")?;
            }
            Script::Trainer => {
                self.set("train.precision", words)?;
                self.set("train.loss", "whole")?;
                if eager {
                    self.set("train.attention", "eager")?;
                }
                if self.plan.quantize.is_some() {
                    self.set("train.upcast", "unpacked")?;
                    self.set("adapter.dtype", "f32")?;
                }
            }
            Script::Torch => {
                // torchtune's rows are steps, each on top of those before: first packing, then compiling.
                let compiled = record.notes.contains("compile")
                    || record.notes.contains("cumulative") && !record.notes.contains("packed");
                if compiled {
                    return Err("torch.compile is not costed".to_owned());
                }
                if record.notes.contains("unpacked") {
                    return Err("how long its samples are is not known".to_owned());
                }
                let mixed = precision.contains("mixed");
                self.set("train.precision", if mixed { words } else { pure })?;
                self.set("train.loss", "whole")?;
            }
            Script::Axolotl => {
                self.set("train.precision", words)?;
                if record.attention.contains("flash") {
                    self.set("train.attention", "flash2")?;
                }
            }
            Script::Unsloth => self.set("train.precision", words)?,
        }
        Ok(())
    }

    fn sharing(&mut self, record: &Record) -> Result<(), NotRead> {
        let gpus = Record::count(&record.n_gpus).unwrap_or(1);
        if gpus < 2 {
            return Ok(());
        }
        let kind = match record.sharding.as_str() {
            "DDP" => ParallelKind::Ddp,
            "FSDP2" | "FSDP8" => ParallelKind::Fsdp2,
            "FSDP" | "FSDP1" | "FSDP+cpu_offload" => return Err("FSDP 1 is not costed".to_owned()),
            other => return Err(format!("sharing by `{other}` is not costed")),
        };
        self.plan.parallel = Some(plan::Parallel { kind, ..Default::default() });
        self.set("parallel.gpus", gpus)?;
        if kind == ParallelKind::Fsdp2 && self.plan.quantize.is_some() {
            self.set("quantize.storage", "bf16")?;
        }
        Ok(())
    }
}

fn checkpointing(record: &Record, script: Script) -> Result<&'static str, NotRead> {
    match record.grad_checkpointing.to_lowercase().as_str() {
        "true" | "full" => Ok("block"),
        "false" => Ok("none"),
        "" if script == Script::Unsloth => Ok("block"),
        "" => Err("it does not say what is recomputed".to_owned()),
        other => Err(format!("recomputation `{other}` is not costed")),
    }
}

fn optimizer(record: &Record, script: Script) -> Result<&'static str, NotRead> {
    let words = record.optimizer.to_lowercase();
    match () {
        // torchtune's list of steps, the last of which changes the optimizer.
        () if words.contains("fused->8bit") => Ok(if record.notes.contains("8-bit") { "adamw_8bit" } else { "adamw" }),
        () if words.contains("paged") => Ok("paged_adamw_8bit"),
        () if words.contains("8bit") || words.contains("8-bit") => Ok("adamw_8bit"),
        () if words.contains("fused") => Ok("adamw"),
        // `torch.optim.AdamW` takes lists of tensors where it is not told.
        () if words.contains("adamw") && script != Script::Unsloth => Ok("adamw_foreach"),
        () if words.contains("adamw") => Ok("adamw"),
        () => Err(format!("the optimizer `{}` is not costed", record.optimizer)),
    }
}

/// `q+k+v+o` and the like; `None`: not said.
fn targets(text: &str) -> Option<Targets> {
    let short = text.split(" (").next().unwrap_or_default();
    if short == "all-linear" {
        return Some(Targets::AllLinear);
    }
    let known = |word: &str| match word {
        "q" | "query" => Some("q_proj"),
        "k" | "key" => Some("k_proj"),
        "v" | "value" => Some("v_proj"),
        "o" => Some("o_proj"),
        "gate" => Some("gate_proj"),
        "up" => Some("up_proj"),
        "down" => Some("down_proj"),
        _ => None,
    };
    let modules: Option<Vec<String>> = short.split('+').map(|word| known(word).map(str::to_owned)).collect();
    modules.filter(|modules| !modules.is_empty()).map(Targets::Modules)
}

/// Words of a card's name, and the catalog's name. The first that fits counts.
const DEVICES: &[(&str, &str)] = &[
    ("t4", "t4"),
    ("3090", "rtx3090"),
    ("4090", "rtx4090"),
    ("l40s", "l40s"),
    ("a10g", "a10g"),
    ("a6000", "a6000"),
    ("a100 40", "a100-40"),
    ("a100", "a100-80"),
    ("h100", "h100-80"),
    ("h200", "h200"),
];

/// What sources call models that the catalog knows by other names.
const MODELS: &[(&str, &str)] = &[
    ("Llama-3.1-70B", "meta-llama/Meta-Llama-3-70B"),
    ("Llama 2 7 B", "meta-llama/Llama-2-7b-hf"),
    ("Llama-2-7B", "meta-llama/Llama-2-7b-hf"),
    ("Llama 2 13 B", "meta-llama/Llama-2-13b-hf"),
    ("Llama 2 70 B", "meta-llama/Llama-2-70b-hf"),
    ("Llama-2-70B", "meta-llama/Llama-2-70b-hf"),
    ("CodeLlama 34 B", "codellama-34b"),
    ("CodeLlama-34B", "codellama-34b"),
    ("Meta-Llama-3-8B", "meta-llama/Meta-Llama-3-8B"),
    ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
    ("Llama-3.3-70B-Instruct", "meta-llama/Meta-Llama-3-70B"),
    ("Mistral-7B", "mistral-7b-v0.1"),
    ("Mistral-7B-v0.2", "mistral-7b-instruct-v0.2"),
    ("tiny-llama", "tinyllama-1.1b"),
    ("phi-1.5 1.3 B", "phi-1_5"),
    ("falcon-7b", "falcon-7b"),
    ("llama-3-8b", "meta-llama/Meta-Llama-3-8B"),
];

/// The catalog's name of a card.
pub(super) fn device_name(gpu: &str) -> Option<&'static str> {
    let gpu = gpu.to_lowercase();
    let fits = |words: &str| words.split(' ').all(|word| gpu.contains(word));
    DEVICES.iter().find(|(words, _)| fits(words)).map(|(_, device)| *device)
}

/// The catalog's name of a model.
pub(super) fn hub_name(name: &str) -> Option<&str> {
    let known = MODELS.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(name)).map(|(_, ours)| *ours);
    let name = known.unwrap_or(name);
    model::find(name, Path::new(""), &Environment::default()).is_ok().then_some(name)
}
