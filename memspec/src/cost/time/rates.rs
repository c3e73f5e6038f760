//! How much of its peak a device reaches under each engine, and what the host adds: the measured constants.
//!
//! The four fitted constants of the PyTorch engines (bandwidth, an operator under each, a step) are fitted together to twelve runs of TRL 1.15 and Unsloth 2026.10 alone on an H200
//! (`tests/fixtures/speed.jsonl`: Llama 3 8B and Llama 3.2 1B, LoRA, with and without NF4 and checkpointing; a test fits them again
//! and leaves one run out at a time). Efficiencies are shares of the catalog's peaks and are taken to hold on other cards, with a
//! wider interval.

use super::work::Pass;
use super::{CostError, on_processor, peak};
use crate::device::DeviceKind;
use crate::plan::EngineName;
use crate::setup::Setup;

/// What a device and its host do in a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    /// Floating-point operations of products in a second.
    pub(super) matmul: f64,
    /// Those of fused attention.
    pub(super) attention: f64,
    /// Bytes in a second; infinite on a processor, whose measured rate of products has them in it.
    pub(super) bandwidth: f64,
    /// Seconds from one launched operator to the next.
    pub(super) operator_seconds: f64,
    /// Seconds of a step that no operator waits for: collation, clipping's and the optimizer's host part, callbacks.
    pub(super) step_seconds: f64,
    /// What the first step takes longer: compiling kernels, choosing algorithms.
    pub(super) first_step_seconds: f64,
    /// How far a run may be off.
    pub(super) spread: Spread,
    /// Runs like this were measured.
    pub(super) measured: bool,
}

/// Factors on the device's and the host's seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) device: f64,
    pub(super) host: f64,
}

impl Spread {
    pub(super) const NONE: Self = Self { device: 1.0, host: 1.0 };
    /// Of runs like the measured ones: the largest errors with that run left out are 14 % where the device is what a step waits for
    /// and a quarter where the host is, whose speed differs from machine to machine and from step to step (a median is up to a
    /// quarter above the quickest). The device's share also covers weights of zeros.
    const MEASURED: Self = Self { device: 1.2, host: 1.6 };
    /// Of the processor: other instruction sets, memory and neighbours than the machine that was measured, and other widths: the
    /// quickstart's model is so narrow that it trains at 6 400 tokens/s where 21 000 are expected.
    const PROCESSOR: Self = Self { device: 4.0, host: 1.0 };
    /// Of other cards, models and methods: the share of its rates that a card reaches is half to twice that of an H200, and a
    /// notebook's two cores take up to three times as long as a server's.
    const ELSEWHERE: Self = Self { device: 2.0, host: 3.0 };

    pub(super) fn low(self) -> Self {
        Self { device: 1.0 / self.device, host: 1.0 / self.host }
    }

    pub(super) fn high(self) -> Self {
        self
    }
}

/// Share of the peak matrix rate that large products reach on cards where that was not measured by itself: an H200's, 788 of 989
/// TFLOP/s (the catalog's measured ones are 0.37 of it on a T4, whose power limit binds, 0.75 to 0.85 on other cards of data
/// centers, and 1.0 to 1.1 on GeForce cards, which clock above their specification).
const MATMUL: f64 = 0.80;
/// An H200's rate for weights of zeros, as the measured runs had, which take less power: TFLOP/s.
#[cfg(test)]
pub(super) const MATMUL_OF_ZEROS: f64 = 894.0;
/// Share of the bandwidth that operators reach that multiply nothing. Fitted.
const BANDWIDTH: f64 = 0.64;
/// Rate of fused attention over that of products, on Hopper: FlashAttention 2 reaches "only 35 % utilization on the H100" (Shah et al.,
/// FlashAttention-3, 2024) where products reach 80 %.
const ATTENTION_HOPPER: f64 = 0.35 / 0.80;
/// And on the cards it was written for: up to 73 % forward and 63 % backward on an A100 (Dao, FlashAttention-2, 2023), whose products
/// reach 85 %.
const ATTENTION: f64 = 0.63 / 0.85;
/// Seconds from one operator to the next under TRL: transformers' and PEFT's Python, autograd, the launch. Fitted.
const OPERATOR_TRL: f64 = 23e-6;
/// And under Unsloth, whose fused functions are fewer and longer. Fitted.
const OPERATOR_UNSLOTH: f64 = 30e-6;
/// Seconds of a step beside its passes, under both (they share transformers' trainer). Fitted.
const STEP: f64 = 0.030;
/// Medians of the first step of the measured runs: 3.5 s under TRL; Unsloth compiles.
const FIRST_STEP_TRL: f64 = 3.5;
/// See [`FIRST_STEP_TRL`].
const FIRST_STEP_UNSLOTH: f64 = 20.0;
/// FLOP/s of one core under the executor's kernels: SmolLM2-135M with LoRA at 207 tokens/s without and 139 with checkpointing on two
/// cores of an EPYC with AVX-512 (`benches/cpu/README.md`).
const CORE: f64 = 62e9;

/// The rates of a setup.
///
/// # Errors
/// A device or precision without a known peak, or the executor on a GPU, which was not measured.
pub(super) fn of(setup: &Setup) -> Result<Rates, CostError> {
    if on_processor(setup) {
        let rate = CORE * f64::from(setup.device.cores.unwrap_or(1));
        return Ok(Rates {
            matmul: rate,
            attention: rate,
            bandwidth: f64::INFINITY,
            operator_seconds: 0.0,
            step_seconds: 0.0,
            first_step_seconds: 0.0,
            spread: Spread::PROCESSOR,
            measured: false,
        });
    }
    if setup.device.kind == DeviceKind::Cpu {
        let what = format!("the engine `{}` was not measured on a processor; use `engine = memspec`", setup.engine);
        return Err(CostError::Unsupported { setting: "engine", what });
    }
    let peak = peak(setup)?;
    let Some(bandwidth) = setup.device.bandwidth_gbs else {
        let what = format!("the bandwidth of `{}` is not known", setup.device.name);
        return Err(CostError::Unsupported { setting: "device", what });
    };
    let matmul = setup.device.tflops_measured.map_or(peak * MATMUL, |tflops| tflops * 1e12);
    let hopper = setup.device.compute_capability.is_some_and(|level| level.0 == 9);
    let (operator_seconds, first_step_seconds) = match setup.engine {
        EngineName::Unsloth => (OPERATOR_UNSLOTH, FIRST_STEP_UNSLOTH),
        EngineName::Trl => (OPERATOR_TRL, FIRST_STEP_TRL),
        EngineName::Memspec => {
            let what =
                "the executor was not timed on a GPU; use `engine = trl` or `unsloth`, or a processor".to_owned();
            return Err(CostError::Unsupported { setting: "engine", what });
        }
    };
    let dense = setup.model.experts.is_none() && setup.model.vision.is_none();
    let quantized = setup.quantize.as_ref().is_none_or(|quantize| quantize.kind == crate::plan::QuantizeKind::Nf4);
    let measured = hopper && dense && quantized && setup.adapter.is_some() && setup.world() == 1;
    Ok(Rates {
        matmul,
        attention: matmul * if hopper { ATTENTION_HOPPER } else { ATTENTION },
        bandwidth: bandwidth * 1e9 * BANDWIDTH,
        operator_seconds,
        step_seconds: STEP,
        first_step_seconds,
        spread: if measured { Spread::MEASURED } else { Spread::ELSEWHERE },
        measured,
    })
}

impl Rates {
    /// Seconds of a pass: the slower of the device and the host.
    pub(super) fn seconds(&self, pass: &Pass, spread: Spread) -> f64 {
        let (compute, bandwidth) = self.device_seconds(pass);
        ((compute + bandwidth) * spread.device).max(self.host_seconds(pass) * spread.host)
    }

    /// Seconds of the device: in products that wait for the matrix units, and in whatever waits for memory.
    pub(super) fn device_seconds(&self, pass: &Pass) -> (f64, f64) {
        let (flops, bytes) = (pass.matmul_flops / self.matmul, pass.matmul_bytes / self.bandwidth);
        let attention = pass.attention_flops / self.attention;
        let rest = pass.bytes / self.bandwidth;
        if flops >= bytes { (flops + attention, rest) } else { (attention, bytes + rest) }
    }

    /// Seconds of the host.
    pub(super) fn host_seconds(&self, pass: &Pass) -> f64 {
        pass.operators * self.operator_seconds
    }
}
