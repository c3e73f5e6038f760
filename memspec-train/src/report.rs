//! The report of a run: what was promised and what was measured.

use memspec::cost::{Estimate, PhaseName};
use memspec::setup::Setup;
use serde::Serialize;

#[cfg(feature = "cuda")]
use crate::kernels::cuda;
use crate::kernels::place::Place;
use crate::monitor;
use crate::scaler::LossScaler;

/// Promise and measurement of one phase, or of another line of memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// The phase or line.
    pub name: String,
    /// What the estimate said.
    pub promised_bytes: u64,
    /// The high-water mark that the allocator (or the operating system) counted.
    pub measured_bytes: u64,
}

/// `report.json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The plan's name.
    pub plan: String,
    /// What ran.
    pub version: &'static str,
    /// Where it ran.
    pub device: String,
    /// Threads that computed.
    pub threads: usize,
    /// Live tensor bytes, phase by phase.
    pub phases: Vec<Line>,
    /// Packing buffers of the matrix products, beside the tensors.
    pub workspace: Line,
    /// Host memory outside the backend: tokenizer, data, the program's own, and block inputs that were moved off a card.
    pub host: Line,
    /// The process's resident memory at its highest.
    pub process: Line,
    /// Steps done and planned.
    pub steps: Steps,
    /// The loss of each step.
    pub losses: Vec<f32>,
    /// The scale of the loss in fp16 at the end, and how many steps were left out for an overflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_scaler: Option<LossScaler>,
    /// The loss on the evaluation data after so many steps.
    pub eval_losses: Vec<(u64, f32)>,
    /// Trained tokens a second, padding not counted, over all steps of this run but the first.
    pub tokens_per_second: f64,
    /// Seconds from the start of loading to the end of the first step.
    pub first_step_seconds: f64,
    /// The setup that ran, every default explicit.
    pub setup: Setup,
}

/// How far a run came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// Done.
    pub done: u64,
    /// Planned.
    pub planned: u64,
}

/// The tensors' high-water mark of each phase, read from the allocator: this process's, or the card's pools.
#[derive(Debug)]
pub struct Phases {
    place: Place,
    current: Option<PhaseName>,
    peaks: [Option<u64>; PhaseName::ALL.len()],
}

impl Phases {
    /// Watches the tensors at a place.
    pub fn new(place: Place) -> Self {
        Self { place, current: None, peaks: [None; PhaseName::ALL.len()] }
    }

    /// Begins to look, where looking takes time: on a card, at each operation.
    pub fn watch(&self) {
        #[cfg(feature = "cuda")]
        if let Place::Cuda { card, .. } = self.place {
            cuda::peak(card);
            cuda::launch::watch(true);
        }
    }

    /// Looks no more.
    pub fn rest(&self) {
        #[cfg(feature = "cuda")]
        if self.place != Place::Cpu {
            cuda::launch::watch(false);
        }
    }

    /// Ends the phase that runs and begins `name`.
    pub fn enter(&mut self, name: PhaseName) {
        self.close();
        if self.place == Place::Cpu {
            monitor::TENSORS.reset_peak();
        }
        self.current = Some(name);
    }

    /// Ends the phase that runs.
    pub fn close(&mut self) {
        if let Some(phase) = self.current.take() {
            let now = match self.place {
                Place::Cpu => monitor::TENSORS.peak(),
                #[cfg(feature = "cuda")]
                Place::Cuda { card, .. } if cuda::launch::is_watched() => cuda::peak(card),
                #[cfg(feature = "cuda")]
                Place::Cuda { .. } => return,
            };
            let peak = self.peaks[phase as usize].get_or_insert(0);
            *peak = (*peak).max(now);
        }
    }

    /// The highest of all phases so far.
    pub fn highest(&self) -> u64 {
        self.peaks.iter().flatten().copied().max().unwrap_or(0)
    }

    /// Each phase that ran beside its promise.
    pub fn lines(&self, promise: &Estimate) -> Vec<Line> {
        PhaseName::ALL
            .into_iter()
            .filter_map(|phase| {
                Some(Line {
                    name: phase.to_string(),
                    promised_bytes: promise.phase(phase)?,
                    measured_bytes: self.peaks[phase as usize]?,
                })
            })
            .collect()
    }
}
