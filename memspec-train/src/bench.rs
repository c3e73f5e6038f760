//! Speed and memory of a plan, step by step as a run would take them, without data and, if wanted, without a model's files.

use std::time::Instant;

use memspec::cost::PhaseName;
use memspec::setup::Verified;
use serde::Serialize;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::devices::{NoDevice, host_has_room, place};
#[cfg(feature = "cuda")]
use crate::kernels::cuda;
use crate::kernels::place::{Place, fetch};
use crate::kernels::{AdamW, DeviceFailed};
use crate::monitor;
use crate::network::Model;
use crate::network::load::{LoadError, Weights, load};
use crate::prepare::{PrepareError, weights};
use crate::random::Random;
use crate::report::{Line, Phases};
use crate::run::optimizer_numbers;
use crate::scaler::LossScaler;
use crate::step::{Batch, Packed, StepConfig, micro_batch, optimizer_step};

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The plan's name.
    pub plan: String,
    /// The device's.
    pub device: String,
    /// Tokens a second, over all timed steps.
    pub tokens_per_s: f64,
    /// Seconds from the program's start to the end of the first step.
    pub first_step_s: f64,
    /// What the backend holds, used or not: pools and the workspace of products.
    pub reserved_bytes: u64,
    /// What the process holds: resident memory, or on a card what the driver says. `None`: it does not say.
    pub process_bytes: Option<u64>,
    /// Host memory that is pinned for block inputs (`activation_offload`).
    pub pinned_bytes: u64,
    /// The most tensor bytes of each phase, beside the promise.
    pub phases: Vec<Line>,
    /// The last step's loss.
    pub loss: f32,
    /// Seconds of each timed step.
    pub step_s: Vec<f64>,
    /// Seconds of the step after those, whose phases were watched.
    pub watched_step_s: f64,
    /// What a step's operations take on a card, the longest first; only where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<Operation>,
}

/// All launches of one operation in a step on a card.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// The kernel, or the product with its shape: rows, inner dimension, columns.
    pub name: String,
    /// How often it was launched.
    pub launches: u32,
    /// Seconds between the events around its launches.
    pub seconds: f64,
}

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Bench {
    /// Optimizer steps that are timed.
    pub steps: u32,
    /// Make the weights up.
    pub random_weights: bool,
    /// Time the operations of one step more, where the plan's device is a card.
    pub operations: bool,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The device that the plan names cannot be used.
    #[error(transparent)]
    NoDevice(#[from] NoDevice),
    /// The weights are not there.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The weights cannot be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The weights' files are broken.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceFailed),
}

/// Measures steps after a first one, and then one more whose phases are watched. `began` is when the program started.
///
/// # Errors
/// A device or weights that are not there, or a device that fails.
pub fn measure(verified: &Verified, bench: Bench, began: Instant) -> Result<Measured, BenchError> {
    let Bench { steps, random_weights, operations } = bench;
    let setup = verified.setup();
    let place = place(setup)?;
    host_has_room(&verified.estimate().host)?;
    let weights = match random_weights {
        true => Weights::Random { seed: setup.seed },
        false => Weights::Checkpoint(Box::new(Checkpoint::open(weights(setup)?)?)),
    };
    let mut phases = Phases::new(place);
    phases.watch();
    phases.enter(PhaseName::Load);
    let model = load(setup, &weights, place, &mut |_| {})?;
    phases.close();
    phases.rest();
    let mut bench = Steps {
        verified,
        model,
        random: Random::new(setup.seed, "bench"),
        config: StepConfig::of(setup),
        scaler: LossScaler::of(&setup.train),
        done: 0,
    };
    bench.step(&mut |_| {})?;
    let first_step_s = began.elapsed().as_secs_f64();
    let mut step_s = Vec::new();
    let mut loss = 0.0;
    for _ in 0..steps {
        let began = Instant::now();
        loss = bench.step(&mut |_| {})?;
        step_s.push(began.elapsed().as_secs_f64());
    }
    let tokens = bench.tokens() * u64::from(steps);
    let reserved_bytes = monitor::reserved(place);
    let process_bytes = monitor::process(place);
    phases.watch();
    let began = Instant::now();
    bench.step(&mut |phase| phases.enter(phase))?;
    let watched_step_s = began.elapsed().as_secs_f64();
    phases.close();
    phases.rest();
    let operations = if operations { bench.operations(place)? } else { Vec::new() };
    Ok(Measured {
        plan: setup.name.clone(),
        device: setup.device.name.clone(),
        tokens_per_s: tokens as f64 / step_s.iter().sum::<f64>(),
        first_step_s,
        reserved_bytes,
        process_bytes,
        pinned_bytes: monitor::pinned(place),
        phases: phases.lines(verified.estimate()),
        loss,
        step_s,
        watched_step_s,
        operations,
    })
}

struct Steps<'a> {
    verified: &'a Verified,
    model: Model,
    random: Random,
    config: StepConfig,
    scaler: Option<LossScaler>,
    done: i32,
}

impl Steps<'_> {
    /// Times the operations of a step.
    #[cfg_attr(not(feature = "cuda"), allow(unused_variables, reason = "without CUDA there is no card"))]
    fn operations(&mut self, place: Place) -> Result<Vec<Operation>, DeviceFailed> {
        #[cfg(feature = "cuda")]
        if let Place::Cuda { card, .. } = place {
            cuda::spans::begin();
            self.step(&mut |_| {})?;
            return cuda::spans::collect(card);
        }
        Ok(Vec::new())
    }

    /// Tokens of a step.
    fn tokens(&self) -> u64 {
        let setup = self.verified.setup();
        u64::from(setup.train.micro_batch) * u64::from(setup.train.accumulate) * setup.data.context
    }

    /// Samples as long as the plan's context, of any words, all scored.
    fn batch(&mut self) -> Batch {
        let setup = self.verified.setup();
        let (context, vocabulary) = (setup.data.context as usize, setup.model.vocab as f32);
        let count = setup.train.micro_batch as usize * context;
        let ids: Vec<i32> = (0..count).map(|_| (self.random.unit() * vocabulary) as i32).collect();
        let mut targets = ids[1..].to_vec();
        targets.push(ids[0]);
        // A sample a row, where they are packed.
        let packed = setup.data.packing.then(|| Packed { starts: vec![0; count], longest: context });
        Batch { ids, targets, context, packed }
    }

    /// One optimizer step, and its loss.
    fn step(&mut self, enter: &mut dyn FnMut(PhaseName)) -> Result<f32, DeviceFailed> {
        let train = &self.verified.setup().train;
        let scored = self.tokens() as usize;
        let loss_scale = self.scaler.map_or(1.0, |scaler| scaler.scale);
        let config = StepConfig { loss_scale, ..self.config };
        let mut losses = Vec::new();
        for _ in 0..train.accumulate {
            let batch = self.batch();
            losses.push(micro_batch(&mut self.model, &batch, scored, &config, enter));
            self.config.draw += 1;
        }
        enter(PhaseName::Optimizer);
        self.done += 1;
        let numbers = optimizer_numbers(train, train.learning_rate, self.done);
        let how = AdamW { gradient_scale: 1.0 / loss_scale, ..numbers };
        let norm = optimizer_step(&mut self.model, how, train.clip as f32)?;
        if let Some(scaler) = &mut self.scaler {
            scaler.update(norm.is_finite());
        }
        losses.iter().map(|loss| Ok(fetch(loss)?[0] / loss_scale)).sum()
    }
}
