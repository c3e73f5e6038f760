//! How long a step takes, and what a run costs in hours and money: a roofline.
//!
//! A pass over a micro batch takes as long as the slower of two: the device, whose products are bound by its matrix rate or its
//! bandwidth and whose other operators are bound by its bandwidth, and the host, which launches one operator after the other. How
//! much of its peak a device reaches, and how long the host needs, is measured (`time/rates.rs`). What a step asks for is counted
//! (`time/work.rs`). `docs/time.md` has both in words, and how far off they are.

mod operators;
mod rates;
#[cfg(test)]
mod tests;
mod work;

use serde::Serialize;

use super::CostError;
use crate::device::{DeviceKind, HourlyPrice, PriceKind};
use crate::plan::{EngineName, Padding, ParallelKind, Precision, Storage};
use crate::setup::{Length, Lengths, Padded, Parallel, Setup};
use rates::{Rates, Spread};

use work::Work;

/// A figure and the interval that it is expected in; the unit is in the name of the field that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Range {
    /// The estimate.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Range {
    fn map(self, each: impl Fn(f64) -> f64) -> Self {
        Self { value: each(self.value), low: each(self.low), high: each(self.high) }
    }

    fn plus(self, other: Self) -> Self {
        Self { value: self.value + other.value, low: self.low + other.low, high: self.high + other.high }
    }
}

/// How long a run trains, and what that costs. Loading, evaluation and saving are not in it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Time {
    /// Seconds of one optimizer step, all its micro batches.
    pub step_seconds: Range,
    /// Tokens of the data, padding not counted, that are trained in a second on all devices together.
    pub tokens_per_second: Range,
    /// What a step waits for most.
    pub bound: Bound,
    /// Optimizer steps; `None`: the plan counts epochs, and the number of samples is not known.
    pub steps: Option<u64>,
    /// Seconds of all steps, what the first one takes longer included.
    pub total_seconds: Option<Range>,
    /// What that costs; `None`: no price is known, or the steps are not.
    pub cost: Option<Spending>,
    /// Runs like this one were measured: this engine, this generation of cards, LoRA on a dense decoder, one device. Else the
    /// interval is wider.
    pub measured: bool,
}

/// What a step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Matrix products.
    Compute,
    /// Reading and writing the device's memory.
    Bandwidth,
    /// The host that launches the operators: a larger micro batch is nearly free.
    Host,
    /// Devices that exchange weights or gradients.
    Network,
}

/// What a run costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Spending {
    /// US dollars of the whole run.
    pub usd: Range,
    /// US dollars of an hour of all machines.
    pub usd_per_hour: f64,
    /// The machine of the catalog that has this price; `None`: the price was given.
    pub machine: Option<String>,
    /// When the price was asked, and from whom; empty where it was given.
    pub source: String,
}

/// How long a setup trains, at the plan's own price, else that of the machine that it names, or of the cheapest one with its device.
///
/// # Errors
/// A device whose rates are not known, or a precision or engine that has no measured rate on it.
pub fn time(setup: &Setup) -> Result<Time, CostError> {
    if !setup.trains {
        return Err(CostError::Unsupported { setting: "serve", what: "the plan trains nothing, it serves".to_owned() });
    }
    let world = setup.world();
    let machine = setup.device.rented(world);
    time_with(setup, &rates::of(setup)?).map(|time| match (setup.hourly_price, machine) {
        (Some(price), _) => time.at(price.into()),
        (None, Some(machine)) if machine.price.kind != PriceKind::Free || setup.device.machine.is_some() => {
            let source = format!("{}, {}", machine.price.date, machine.price.source);
            time.spend(machine.for_world(world), Some(machine.name.clone()), source)
        }
        _ => time,
    })
}

/// How many times as long a token takes after a change of the setup as before it; `None` where one of them is not known.
pub fn slowdown(before: &Setup, after: &Setup) -> Option<f64> {
    let rate = |setup| Some(time(setup).ok()?.tokens_per_second.value).filter(|rate| *rate > 0.0);
    Some(rate(before)? / rate(after)?)
}

impl Time {
    /// The same run at another price for an hour of all its devices.
    pub fn at(self, price: HourlyPrice) -> Self {
        self.spend(price.0, None, String::new())
    }

    fn spend(self, usd_per_hour: f64, machine: Option<String>, source: String) -> Self {
        let cost = self.total_seconds.map(|seconds| Spending {
            usd: seconds.map(|seconds| seconds / 3600.0 * usd_per_hour),
            usd_per_hour,
            machine,
            source,
        });
        Self { cost, ..self }
    }
}

/// The time with given rates.
fn time_with(setup: &Setup, rates: &Rates) -> Result<Time, CostError> {
    let (columns, real) = batch(setup);
    let accumulate = f64::from(setup.train.accumulate);
    let copies = setup.copies() as f64;
    let works = [columns.value, columns.low, columns.high].map(|columns| work::work(setup, columns));
    let network = exchange(setup);
    let step = |work: &Work, spread: Spread| {
        let micro = rates.seconds(&work.forward, spread) + rates.seconds(&work.backward, spread);
        micro * accumulate + rates.seconds(&work.optimizer, spread) + rates.step_seconds * spread.host
    };
    let step_seconds = Range {
        value: step(&works[0], Spread::NONE),
        low: step(&works[1], rates.spread.low()),
        high: step(&works[2], rates.spread.high()),
    }
    .plus(network);
    // the tokens that are learnt from are the same however far they are padded
    let tokens = real * f64::from(setup.train.micro_batch) * accumulate * copies;
    let tokens_per_second =
        Range { value: tokens / step_seconds.value, low: tokens / step_seconds.high, high: tokens / step_seconds.low };
    let steps = steps(setup);
    let total_seconds = steps.map(|steps| {
        let first = Range { value: rates.first_step_seconds, low: 0.0, high: 2.0 * rates.first_step_seconds };
        step_seconds.map(|seconds| seconds * steps as f64).plus(first)
    });
    Ok(Time {
        bound: bound(&works[0], rates, network.value, accumulate),
        step_seconds,
        tokens_per_second,
        steps,
        total_seconds,
        cost: None,
        measured: rates.measured,
    })
}

/// Tokens that each sample of a micro batch is filled to, and how many of them are its own.
fn batch(setup: &Setup) -> (Padded, f64) {
    let data = &setup.data;
    let context = data.context as f64;
    let full = Padded { value: context, low: context, high: context };
    let Some(lengths) = lengths(setup).filter(|lengths| lengths.samples > 0) else { return (full, context) };
    if data.packing {
        return (full, context);
    }
    let columns = match data.padding {
        Padding::Max => full,
        Padding::None => Padded { value: lengths.mean(), low: lengths.mean(), high: lengths.mean() },
        Padding::Longest => lengths.longest_of(setup.train.micro_batch, data.context),
    };
    (columns, lengths.mean())
}

/// What is known of the samples' lengths.
fn lengths(setup: &Setup) -> Option<Lengths> {
    setup.data.lengths.clone().or_else(|| setup.data.drawn.map(Lengths::from))
}

/// Optimizer steps: as many as the plan says, or as its epochs have.
fn steps(setup: &Setup) -> Option<u64> {
    match setup.train.length {
        Length::Steps(steps) => Some(steps),
        Length::Epochs(epochs) => {
            let lengths = lengths(setup)?;
            let sequences = match setup.data.packing {
                true => lengths.tokens.div_ceil(setup.data.context.max(1)),
                false => lengths.samples,
            };
            let batches = sequences.div_ceil(u64::from(setup.train.micro_batch).max(1)).div_ceil(setup.copies().max(1));
            Some(((epochs * batches as f64 / f64::from(setup.train.accumulate)).ceil() as u64).max(1))
        }
    }
}

/// Seconds that devices exchange gradients and weights, not hidden behind compute; no run on several devices has been timed.
///
/// A ring moves 2 (n-1)/n of the bytes through each device for an all-reduce, and half of that for a gather or a scatter. Between
/// 25 GB/s (PCIe 4.0 with sixteen lanes) and 450 GB/s (NVLink 4 one way), as the catalog does not know how cards are joined.
fn exchange(setup: &Setup) -> Range {
    let none = Range { value: 0.0, low: 0.0, high: 0.0 };
    let Some(parallel) = setup.parallel.filter(|parallel| parallel.world() > 1) else { return none };
    let share = (parallel.world() - 1) as f64 / parallel.world() as f64;
    let bytes = share * exchanged(setup, parallel);
    let (slow, fast): (f64, f64) = (25e9, 450e9);
    Range { value: bytes / (slow * fast).sqrt(), low: 0.0, high: bytes / slow }
}

/// Bytes of a step that are gathered or scattered; what is all-reduced counts twice.
fn exchanged(setup: &Setup, parallel: Parallel) -> f64 {
    const HALF: f64 = 2.0;
    let weights = HALF * setup.model.parameters() as f64;
    let (trained, _) = work::trained(setup);
    let accumulate = f64::from(setup.train.accumulate);
    let gathers = if parallel.reshard { 2.0 } else { 1.0 };
    match parallel.kind {
        // Gradients have their parameters' type: float32 but for a model in 16 bits and for adapters that TRL casts.
        ParallelKind::Ddp => {
            let wide = setup.train.precision != Precision::Bf16Pure && setup.quantize.is_none();
            2.0 * trained * if wide { 4.0 } else { HALF }
        }
        // Gradients are summed after the last micro batch, at stage 2 after each; stepped parameters are gathered.
        ParallelKind::Zero1 => HALF * trained * 3.0,
        ParallelKind::Zero2 => HALF * trained * (2.0 * accumulate + 1.0),
        // Forward and backward of every micro batch gather what is in parts; packed weights that are no floats are whole everywhere.
        ParallelKind::Fsdp2 => {
            let gathered = match &setup.quantize {
                Some(quantize) if quantize.storage == Storage::Uint8 => 0.0,
                Some(_) => weights / 4.0,
                None => weights,
            };
            accumulate * gathers * gathered + HALF * trained
        }
        ParallelKind::Zero3 => accumulate * (2.0 * weights + HALF * trained),
        // Two sums of the hidden states a block forward; backward one for each linear that reads them.
        ParallelKind::Tensor => {
            let tokens = f64::from(setup.train.micro_batch) * setup.data.context as f64;
            2.0 * HALF * 7.0 * accumulate * tokens * (setup.model.hidden * setup.model.layers) as f64
        }
    }
}

fn bound(work: &Work, rates: &Rates, network: f64, accumulate: f64) -> Bound {
    let mut shares = [(Bound::Compute, 0.0), (Bound::Bandwidth, 0.0), (Bound::Host, 0.0), (Bound::Network, network)];
    for pass in [&work.forward, &work.backward] {
        let (compute, bandwidth) = rates.device_seconds(pass);
        let host = rates.host_seconds(pass);
        let waits = if host > compute + bandwidth { [0.0, 0.0, host] } else { [compute, bandwidth, 0.0] };
        for (share, wait) in shares.iter_mut().zip(waits) {
            share.1 += wait * accumulate;
        }
    }
    let most = shares.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    most.map_or(Bound::Compute, |(bound, _)| bound)
}

/// The matrix rate that the setup's precision has on its device, in FLOP/s.
fn peak(setup: &Setup) -> Result<f64, CostError> {
    let device = &setup.device;
    let unsupported = |setting, what: String| CostError::Unsupported { setting, what };
    let unknown = || unsupported("device", format!("the matrix rate of `{}` is not known", device.name));
    match setup.train.precision {
        Precision::F32 if setup.quantize.is_none() => Err(unsupported(
            "train.precision",
            format!("the rate of f32 products on `{}` is not known; use bf16 or fp16", device.name),
        )),
        Precision::Fp16 | Precision::Fp16Pure | Precision::F32 => {
            device.tflops_fp16.map(|tflops| tflops * 1e12).ok_or_else(unknown)
        }
        Precision::Bf16 | Precision::Bf16Pure => device.tflops_16bit().map(|tflops| tflops * 1e12).ok_or_else(unknown),
    }
}

/// Whether the executor's own kernels run on the processor.
fn on_processor(setup: &Setup) -> bool {
    setup.engine == EngineName::Memspec && setup.device.kind == DeviceKind::Cpu
}
