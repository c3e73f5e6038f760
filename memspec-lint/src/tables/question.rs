//! The questions that the guide's claims answer, and how memspec answers them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use memspec::cost::{Estimate, Interval, estimate, inference, time};
use memspec::device::{self, Access, DeviceKind};
use memspec::model::{self, Environment};
use memspec::plan::{
    self, AdapterKind, CachePrecision, Checkpointing, EngineName, Name, ParallelKind, Plan, Precision, QuantizeKind,
    ServePrecision,
};
use memspec::quantity::{Bytes, Money, Steps, Tokens};
use memspec::setup::{Serve, Setup, resolve};
use serde::{Deserialize, Serialize};

use super::{Answer, Assumptions};

/// More than any device has: a memory figure does not depend on what would fit.
const NO_LIMIT: Bytes = Bytes(1 << 50);

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The peak of a training run.
    Training(Run),
    /// The card with the least memory that trains it.
    SmallestGpu(Run),
    /// The cheapest way to a card that trains it.
    Access(Run),
    /// Whether it fits the card that it names.
    Fits(Run),
    /// By how many percent the peak falls from one run to another.
    Saving {
        /// Before.
        from: Run,
        /// After.
        to: Run,
    },
    /// How long steps take.
    Minutes {
        /// Of this run.
        run: Run,
        /// So many optimizer steps.
        steps: u64,
    },
    /// What serving takes.
    Serving {
        /// The model.
        model: String,
        /// The type of its weights.
        precision: ServePrecision,
    },
    /// Hours of a machine that a month's money buys.
    Hours {
        /// The machine of the catalog.
        machine: String,
        /// US dollars a month.
        usd: u64,
    },
    /// Nothing is known.
    Unknown {
        /// Why.
        why: String,
    },
}

/// A training run; what it leaves open is in the assumptions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as the settings of a plan are")]
pub struct Run {
    pub model: String,
    pub method: Method,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulate: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointing: Option<Checkpointing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u32>,
}

/// The guide's four methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// All weights.
    Full,
    /// LoRA on 16 bit weights.
    Lora,
    /// LoRA on NF4.
    #[serde(rename = "lora_4bit")]
    Lora4bit,
    /// LoRA on int8.
    #[serde(rename = "lora_8bit")]
    Lora8bit,
}

/// Which bytes a training's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Of live tensors.
    Allocated,
    /// That the allocator holds.
    Reserved,
    /// That the process has on the device, its context included.
    Process,
}

impl Figure {
    fn of(self, estimate: &Estimate) -> Interval {
        match self {
            Figure::Allocated => estimate.peak.allocated,
            Figure::Reserved => estimate.peak.reserved,
            Figure::Process => estimate.peak.process,
        }
    }
}

/// An answer, or why there is none.
type Answered = Result<Answer, String>;

impl Question {
    /// What memspec says.
    pub(super) fn answer(&self, asked: &Asked<'_>) -> Answer {
        let answer = match self {
            Question::Training(run) => asked.training(run),
            Question::SmallestGpu(run) => asked.smallest_gpu(run),
            Question::Access(run) => asked.access(run),
            Question::Fits(run) => asked.fits(run),
            Question::Saving { from, to } => asked.saving(from, to),
            Question::Minutes { run, steps } => asked.minutes(run, *steps),
            Question::Serving { model, precision } => asked.serving(model, *precision),
            Question::Hours { machine, usd } => hours(machine, *usd),
            Question::Unknown { why } => Ok(Answer::Unknown { why: why.clone() }),
        };
        answer.unwrap_or_else(|why| Answer::NotCosted { why })
    }
}

/// Who answers.
pub(super) struct Asked<'a> {
    assumptions: &'a Assumptions,
    environment: &'a Environment,
    /// Runs on cards that were estimated already: the smallest card and the legend ask for the same ones.
    seen: RefCell<HashMap<String, Result<Estimate, String>>>,
}

impl<'a> Asked<'a> {
    pub(super) fn new(assumptions: &'a Assumptions, environment: &'a Environment) -> Self {
        Self { assumptions, environment, seen: RefCell::default() }
    }

    fn training(&self, run: &Run) -> Answered {
        let estimate = self.peak(run)?;
        let note = if estimate.measured { String::new() } else { "no run like this was measured".to_owned() };
        Ok(Answer::bytes(self.assumptions.memory.of(&estimate), note))
    }

    /// The estimate without a limit.
    fn peak(&self, run: &Run) -> Result<Estimate, String> {
        let mut setup = self.setup(run, &self.device(run))?;
        setup.budget.device_memory = NO_LIMIT;
        estimate(&setup).map_err(|error| error.to_string())
    }

    fn smallest_gpu(&self, run: &Run) -> Answered {
        let mut cards: Vec<_> = device::names().into_iter().filter_map(device::get).collect();
        cards.retain(|card| card.kind == DeviceKind::Cuda);
        cards.sort_by_key(|card| card.usable);
        let largest = cards.last().map(|card| card.usable).unwrap_or_default();
        for card in cards {
            let estimate = self.on(run, &card.name)?;
            if estimate.fits {
                let note = format!("{} of {}", Bytes(estimate.peak.process.bytes), card.usable);
                return Ok(Answer::Words { computed: card.name, note });
            }
        }
        Ok(Answer::Words {
            computed: "several".to_owned(),
            note: format!("no card of the catalog; the largest has {largest}"),
        })
    }

    fn access(&self, run: &Run) -> Answered {
        // one card says whether it is costed at all
        self.on(run, &self.assumptions.device)?;
        let access =
            Access::of(|card| card.kind == DeviceKind::Cuda && self.on(run, &card.name).is_ok_and(|one| one.fits));
        let (computed, note) = match access {
            Access::ColabFree => ("colab-free", "green: Google Colab's free card"),
            Access::ColabPaid => ("colab-paid", "yellow: a card of paid Colab"),
            Access::Rented => ("rented", "red: a rented machine with one device"),
            Access::SeveralDevices => ("several", "red: no single device is enough"),
        };
        Ok(Answer::Words { computed: computed.to_owned(), note: note.to_owned() })
    }

    fn fits(&self, run: &Run) -> Answered {
        let estimate = self.on(run, &self.device(run))?;
        let computed = if estimate.fits { "yes" } else { "no" };
        let note = format!("{} of {}", Bytes(estimate.peak.process.bytes), Bytes(estimate.limit_bytes));
        Ok(Answer::Words { computed: computed.to_owned(), note })
    }

    fn on(&self, run: &Run, device: &str) -> Result<Estimate, String> {
        let key = serde_json::to_string(&(run, device)).map_err(|error| error.to_string())?;
        if let Some(known) = self.seen.borrow().get(&key) {
            return known.clone();
        }
        let estimate = self.setup(run, device).and_then(|setup| estimate(&setup).map_err(|error| error.to_string()));
        self.seen.borrow_mut().insert(key, estimate.clone());
        estimate
    }

    fn saving(&self, from: &Run, to: &Run) -> Answered {
        let (before, after) = (self.peak(from)?, self.peak(to)?);
        let [before, after] = [before, after].map(|estimate| self.assumptions.memory.of(&estimate).bytes);
        let percent = 100.0 * (1.0 - after as f64 / before.max(1) as f64);
        Ok(Answer::exactly(percent, "%", format!("{} to {}", Bytes(before), Bytes(after))))
    }

    fn minutes(&self, run: &Run, steps: u64) -> Answered {
        let Assumptions { time_device, time_micro_batch, time_accumulate, .. } = self.assumptions;
        let run = Run {
            batch: run.batch.or(Some(*time_micro_batch)),
            accumulate: run.accumulate.or(Some(*time_accumulate)),
            ..run.clone()
        };
        let mut plan = self.plan(&run, run.device.as_deref().unwrap_or(time_device));
        plan.train.get_or_insert_default().steps = Some(Steps(steps).into());
        let setup = self.resolved(&plan)?;
        let time = time(&setup).map_err(|error| error.to_string())?;
        let total = time.total_seconds.ok_or("the number of steps is not known")?;
        let note = if time.measured { "" } else { "no run like this was timed" };
        Ok(Answer::seconds(total, format!("on {}{}{note}", setup.device.name, if note.is_empty() { "" } else { "; " })))
    }

    fn serving(&self, model: &str, precision: ServePrecision) -> Answered {
        let Assumptions { serve_device, serve_context, serve_concurrency, .. } = self.assumptions;
        let found = model::find(model, Path::new(""), self.environment).map_err(|error| error.to_string())?;
        let device = device::find(serve_device).map_err(|error| error.to_string())?;
        let serve =
            Serve { precision, context: *serve_context, concurrency: *serve_concurrency, cache: CachePrecision::F16 };
        let takes = inference(&found.architecture, &serve, &device).map_err(|error| error.to_string())?;
        let [weights, cache] = [takes.weights, takes.cache].map(|part| Bytes(part.bytes));
        Ok(Answer::bytes(takes.total, format!("weights {weights}, cache {cache}")))
    }

    fn device(&self, run: &Run) -> String {
        run.device.clone().unwrap_or_else(|| self.assumptions.device.clone())
    }

    fn setup(&self, run: &Run, device: &str) -> Result<Setup, String> {
        self.resolved(&self.plan(run, device))
    }

    fn resolved(&self, plan: &Plan) -> Result<Setup, String> {
        resolve(plan, Path::new(""), self.environment).map_err(|unresolved| {
            unresolved.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ")
        })
    }

    fn plan(&self, run: &Run, device: &str) -> Plan {
        let assumptions = self.assumptions;
        let kind = match run.method {
            Method::Full | Method::Lora => None,
            Method::Lora4bit => Some(QuantizeKind::Nf4),
            Method::Lora8bit => Some(QuantizeKind::Int8),
        };
        let double = (kind == Some(QuantizeKind::Nf4)).then(|| assumptions.double_quantization.into());
        Plan {
            name: "guide".to_owned(),
            model: Some(run.model.clone().into()),
            device: Some(Name(device.to_owned()).into()),
            engine: Some(run.engine.unwrap_or(assumptions.engine).into()),
            parallel: run.gpus.map(|gpus| plan::Parallel {
                kind: ParallelKind::Fsdp2,
                gpus: Some(gpus.into()),
                ..Default::default()
            }),
            quantize: kind.map(|kind| plan::Quantize { kind, double, ..Default::default() }),
            adapter: (run.method != Method::Full).then(|| plan::Adapter {
                kind: AdapterKind::Lora,
                rank: Some(run.rank.unwrap_or(assumptions.rank).into()),
                targets: Some(assumptions.targets.clone().into()),
                ..Default::default()
            }),
            data: Some(plan::Data { context: Some(Tokens(assumptions.context).into()), ..Default::default() }),
            train: Some(plan::Train {
                precision: run.precision.map(Into::into),
                micro_batch: Some(run.batch.unwrap_or(assumptions.micro_batch).into()),
                accumulate: Some(run.accumulate.unwrap_or(assumptions.accumulate).into()),
                checkpointing: Some(run.checkpointing.unwrap_or(assumptions.checkpointing).into()),
                optimizer: Some(assumptions.optimizer.into()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }
}

fn hours(machine: &str, usd: u64) -> Answered {
    let machine = device::machine(machine).ok_or_else(|| format!("no machine `{machine}` in the catalog"))?;
    let note = format!("{:.2}usd/h, {}", machine.price.amount, machine.price.date);
    Ok(Answer::exactly(machine.hours_a_month(Money { cents: 100 * usd }), "h", note))
}
