//! The run: load, train, save, and keep what was promised beside what is measured.

mod error;
mod event;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use memspec::cost::PhaseName;
use memspec::cost::engine::memspec::workspace;
use memspec::plan::AdapterKind;
use memspec::setup::{Setup, Train, Verified};

use crate::checkpoint::{Checkpoint, write_atomically};
use crate::data::{Position, Sampler};
use crate::devices::{host_has_room, place};
use crate::eval::{Pass, score};
use crate::kernels::AdamW;
use crate::kernels::place::fetch;
use crate::metrics::Metrics;
use crate::monitor;
use crate::network::Model;
use crate::network::load::{Weights, load};
use crate::output::{Existing, Leaves, Output, Planned, Saved, State, WholeModel, course};
use crate::peft::AdapterConfig;
use crate::prepare::{Prepared, batch, sampler, weights};
use crate::report::{Line, Phases, Report, Steps};
use crate::scaler::LossScaler;
use crate::schedule::learning_rate;
use crate::step::{Batch, StepConfig, micro_batch, optimizer_step};

pub use error::RunError;
pub use event::{Event, Scaled, StepMetrics};

/// AdamW's epsilon, as in PyTorch.
const EPSILON: f32 = 1e-8;

/// How a run is started.
#[derive(Debug)]
pub struct RunOptions<'a> {
    /// The folder of the plan's file: default outputs are beside it.
    pub base: &'a Path,
    /// What to do with an output folder that is not empty.
    pub existing: Existing,
    /// Becomes true when the run should save and stop.
    pub stop: &'a AtomicBool,
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// Its folder.
    pub output: Output,
    /// Its report, as written.
    pub report: Report,
    /// It was asked to stop before its last step.
    pub stopped: bool,
}

/// Runs a verified setup to its end, or until it is asked to stop.
///
/// # Errors
/// Weights that cannot be read, an output that cannot be written, a loss that is no number, gradients that overflow at any scale.
pub fn run(
    verified: &Verified,
    prepared: &Prepared,
    options: &RunOptions<'_>,
    watch: &mut dyn FnMut(Event),
) -> Result<Finished, RunError> {
    let setup = verified.setup();
    let course = course(setup, prepared);
    let planned = Planned::find(setup, options.base, options.existing)?;
    let saved = match (options.existing, planned.newest_checkpoint()) {
        (Existing::Resume, Some(path)) => Some(Saved::open(path, &course)?),
        _ => None,
    };
    let base = weights(setup)?;
    let checkpoint = Checkpoint::open(base)?;
    let leaves = match setup.adapter {
        Some(_) => Leaves::Adapter(adapter_config(setup)),
        None => Leaves::Model(WholeModel::of(base, &checkpoint)?),
    };

    let started = Instant::now();
    let place = place(setup)?;
    host_has_room(&verified.estimate().host)?;
    let mut phases = Phases::new(place);
    phases.watch();
    phases.enter(PhaseName::Load);
    let blocks = setup.model.layers;
    let weights = Weights::Checkpoint(Box::new(checkpoint));
    let model = load(setup, &weights, place, &mut |done| watch(Event::Loading { done, blocks }))?;
    phases.close();
    let mut trainer = Trainer {
        setup,
        prepared,
        leaves,
        model,
        phases,
        config: StepConfig::of(setup),
        sampler: sampler(setup, &prepared.train),
        state: State {
            step: 0,
            position: Position::default(),
            losses: Vec::new(),
            scaler: LossScaler::of(&setup.train),
            plan: course,
        },
        eval_losses: Vec::new(),
        promised: verified.estimate().phases.iter().map(|phase| phase.allocated_bytes).max().unwrap_or(0),
    };
    if let Some(saved) = saved {
        trainer.restore(saved)?;
    }
    let output = planned.make()?;
    let metrics = Metrics::open(&output.folder, trainer.state.step)?;
    watch(Event::Started { step: trainer.state.step, steps: prepared.steps });
    let loop_result = trainer.train(&output, metrics, options.stop, started, watch);
    let Course { stopped, tokens_per_second, first_step_seconds } = loop_result.map_err(|error| match error {
        RunError::Device(cause) => {
            let (step, checkpoint) = (trainer.state.step + 1, newest(&output));
            RunError::Stopped { step, checkpoint, room: monitor::room(place), cause }
        }
        other => other,
    })?;

    trainer.phases.enter(PhaseName::Save);
    if stopped {
        trainer.checkpoint(&output, watch)?;
    } else {
        output.save(&mut trainer.model, &trainer.leaves, &prepared.tokenizer)?;
    }
    trainer.phases.close();
    let report = trainer.report(verified, tokens_per_second, first_step_seconds);
    let json = serde_json::to_vec_pretty(&report).unwrap_or_default();
    write_atomically(&output.folder.join("report.json"), |out| out.write_all(&json))?;
    Ok(Finished { output, report, stopped })
}

/// What the optimizer's step with this number, counted from 1, does at a learning rate.
pub(crate) fn optimizer_numbers(train: &Train, learning_rate: f64, step: i32) -> AdamW {
    AdamW {
        learning_rate: learning_rate as f32,
        betas: (train.betas.0 as f32, train.betas.1 as f32),
        epsilon: EPSILON,
        weight_decay: train.weight_decay as f32,
        step,
        gradient_scale: 1.0,
    }
}

/// What the step after a state does, and at which learning rate. One that was left out counts for neither schedule nor bias correction, as in transformers' `Trainer`.
pub(crate) fn next_step(state: &State, train: &Train, steps: u64) -> (f64, AdamW) {
    let taken = state.taken();
    let rate = learning_rate(train, taken, steps);
    let how = AdamW { gradient_scale: 1.0 / state.loss_scale(), ..optimizer_numbers(train, rate, taken as i32 + 1) };
    (rate, how)
}

/// The adapter as PEFT describes it.
pub fn adapter_config(setup: &Setup) -> AdapterConfig {
    let adapter = setup.adapter.as_ref();
    let config = AdapterConfig::new(
        &setup.model_name,
        adapter.map_or(0, |adapter| adapter.rank),
        adapter.map_or(0.0, |adapter| adapter.alpha),
        adapter.map_or(0.0, |adapter| adapter.dropout),
        adapter.is_some_and(|adapter| adapter.rank_stabilized),
        adapter.map_or(&[], |adapter| &adapter.targets),
    );
    AdapterConfig { use_dora: adapter.is_some_and(|adapter| adapter.kind == AdapterKind::Dora), ..config }
}

/// The checkpoint to go on from, for readers.
fn newest(output: &Output) -> String {
    output.newest_checkpoint().map_or("none yet".to_owned(), |path| path.display().to_string())
}

struct Trainer<'a> {
    setup: &'a Setup,
    prepared: &'a Prepared,
    leaves: Leaves,
    model: Model,
    phases: Phases,
    config: StepConfig,
    sampler: Sampler,
    state: State,
    eval_losses: Vec<(u64, f32)>,
    promised: u64,
}

/// What the loop leaves.
struct Course {
    stopped: bool,
    tokens_per_second: f64,
    first_step_seconds: f64,
}

impl Trainer<'_> {
    fn restore(&mut self, saved: Saved) -> Result<(), RunError> {
        let scaler = self.state.scaler;
        self.state = saved.restore(&mut self.model, &self.leaves)?;
        self.state.scaler = self.state.scaler.or(scaler);
        self.sampler = sampler(self.setup, &self.prepared.train).resume(self.state.position);
        Ok(())
    }

    fn train(
        &mut self,
        output: &Output,
        mut metrics: Metrics,
        stop: &AtomicBool,
        started: Instant,
        watch: &mut dyn FnMut(Event),
    ) -> Result<Course, RunError> {
        let (mut tokens, mut seconds, mut first_step_seconds) = (0, 0.0, 0.0);
        let first = self.state.step;
        let mut saved = first;
        while self.state.step < self.prepared.steps && !stop.load(Relaxed) {
            let begun = Instant::now();
            let Some(mut line) = self.step(stop)? else { break };
            let took = begun.elapsed().as_secs_f64();
            line.tokens_per_second = line.tokens as f64 / took;
            self.sound(&line, output)?;
            if self.state.step == first + 1 {
                first_step_seconds = started.elapsed().as_secs_f64();
            } else {
                tokens += line.tokens;
                seconds += took;
            }
            metrics.write(&line)?;
            watch(Event::Step(line));
            let last = self.state.step == self.prepared.steps;
            if !last && self.state.step - saved >= self.setup.save.every {
                self.phases.enter(PhaseName::Save);
                self.checkpoint(output, watch)?;
                self.phases.close();
                saved = self.state.step;
            }
            self.evaluate(last, watch)?;
        }
        let tokens_per_second = if seconds > 0.0 { tokens as f64 / seconds } else { 0.0 };
        Ok(Course { stopped: self.state.step < self.prepared.steps, tokens_per_second, first_step_seconds })
    }

    /// A loss or a gradient that is no number ends the run, but for one that a smaller scale of the loss may help.
    fn sound(&self, line: &StepMetrics, output: &Output) -> Result<(), RunError> {
        let step = line.step;
        if line.scaled.is_some_and(|scaled| scaled.skipped) {
            return match self.state.scaler.is_some_and(|scaler| scaler.is_lost()) {
                true => Err(RunError::ScaleLost { step, checkpoint: newest(output) }),
                false => Ok(()),
            };
        }
        for (what, value) in [("the loss", line.loss), ("the gradient's norm", line.grad_norm)] {
            if !value.is_finite() {
                return Err(RunError::Diverged { what, step, value, checkpoint: newest(output) });
            }
        }
        Ok(())
    }

    /// One optimizer step; `None` when it was asked to stop in its midst, which loses the step and nothing else.
    fn step(&mut self, stop: &AtomicBool) -> Result<Option<StepMetrics>, RunError> {
        let train = &self.setup.train;
        let pad = self.prepared.tokenizer.pad();
        let mut tokens = 0;
        let batches: Vec<Batch> = (0..train.accumulate)
            .map(|_| {
                let rows = self.sampler.next_batch();
                let (batch, count) = batch(self.setup, &self.prepared.train, &rows, pad);
                tokens += count as u64;
                batch
            })
            .collect();
        let scored: usize = batches.iter().map(Batch::scored).sum();
        let loss_scale = self.state.loss_scale();
        let config = StepConfig { loss_scale, ..self.config };
        let mut losses = Vec::new();
        for (draw, batch) in (self.state.step * u64::from(train.accumulate)..).zip(&batches) {
            if stop.load(Relaxed) {
                return Ok(None);
            }
            let (phases, config) = (&mut self.phases, StepConfig { draw, ..config });
            losses.push(micro_batch(&mut self.model, batch, scored, &config, &mut |phase| phases.enter(phase)));
        }
        self.phases.enter(PhaseName::Optimizer);
        let (rate, how) = next_step(&self.state, train, self.prepared.steps);
        let grad_norm = optimizer_step(&mut self.model, how, train.clip as f32)?;
        let mut loss = 0.0;
        for of_batch in &losses {
            loss += fetch(of_batch)?[0] / loss_scale;
        }
        self.phases.close();
        let scaled = self.state.scaler.as_mut().map(|scaler| {
            scaler.update(grad_norm.is_finite());
            Scaled { loss_scale, skipped: !grad_norm.is_finite() }
        });
        self.state.step += 1;
        self.state.position = self.sampler.position();
        self.state.losses.push(loss);
        Ok(Some(StepMetrics {
            step: self.state.step,
            loss,
            learning_rate: rate,
            grad_norm,
            scaled,
            tokens,
            tokens_per_second: 0.0,
            measured_bytes: self.phases.highest(),
            promised_bytes: self.promised,
        }))
    }

    fn evaluate(&mut self, last: bool, watch: &mut dyn FnMut(Event)) -> Result<(), RunError> {
        let (Some(eval), Some(dataset)) = (&self.setup.eval, &self.prepared.eval) else { return Ok(()) };
        let due = eval.every.is_some_and(|every| self.state.step.is_multiple_of(every.max(1)));
        if !last && !due {
            return Ok(());
        }
        let pass = Pass {
            micro_batch: eval.micro_batch as usize,
            loss_rows: self.config.loss_rows,
            pad: self.prepared.tokenizer.pad(),
        };
        let loss = score(self.setup, &self.model, dataset, pass, &mut |_| {})?.loss as f32;
        self.eval_losses.push((self.state.step, loss));
        watch(Event::Evaluated { step: self.state.step, loss });
        Ok(())
    }

    fn checkpoint(&mut self, output: &Output, watch: &mut dyn FnMut(Event)) -> Result<(), RunError> {
        output.save_checkpoint(&mut self.model, &self.leaves, &self.state, self.setup.save.keep)?;
        watch(Event::Saved { step: self.state.step });
        Ok(())
    }

    fn report(&self, verified: &Verified, tokens_per_second: f64, first_step_seconds: f64) -> Report {
        let estimate = verified.estimate();
        let line =
            |name: &str, promised_bytes, measured_bytes| Line { name: name.to_owned(), promised_bytes, measured_bytes };
        Report {
            plan: self.setup.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            device: self.setup.device.name.clone(),
            threads: rayon::current_num_threads(),
            phases: self.phases.lines(estimate),
            workspace: line("workspace", workspace(self.setup), monitor::workspace(self.model.place)),
            host: line("host", estimate.host.bytes(), monitor::host(self.model.place)),
            process: line("process", estimate.peak.process.bytes, monitor::process(self.model.place).unwrap_or(0)),
            steps: Steps { done: self.state.step, planned: self.prepared.steps },
            losses: self.state.losses.clone(),
            eval_losses: self.eval_losses.clone(),
            loss_scaler: self.state.scaler,
            tokens_per_second,
            first_step_seconds,
            setup: self.setup.clone(),
        }
    }
}
