//! How well a kind of run is known: the interval around its figures, and what has to stay free for it to be said to fit.
//!
//! Allocated bytes are those of tensors and are known well. Reserved bytes hang on where the allocator finds place, and some kinds of runs have something in
//! them whose order no source decides. Widths are those that cover the measured runs of a kind (`docs/accuracy.md`), never those of a model or of a run.

use super::differences;
use crate::model::Family;
use crate::plan::{EngineName, Float, ParallelKind, Precision};
use crate::setup::{Parallel, Setup};

/// Cards that runs of ours were measured on.
const MEASURED: [&str; 2] = ["h200", "h100-80"];

/// Shares of a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Known {
    /// Half the width of the interval around allocated bytes.
    pub(super) allocated: f64,
    /// Half the width around reserved bytes, and so around the process's.
    pub(super) reserved: f64,
    /// Part of a limit that a run must leave free to be said to fit.
    pub(super) edge: f64,
}

impl Known {
    /// Runs that were measured often, on one card. Near a limit small changes decide.
    const WELL: Self = Self { allocated: 0.01, reserved: 0.039, edge: 0.015 };

    /// How well a setup is known.
    pub(super) fn of(setup: &Setup) -> Self {
        let mut known = match setup.parallel.filter(|parallel| parallel.world() > 1) {
            Some(parallel) => Self::on_several(setup, parallel),
            None => Self::WELL,
        };
        if setup.model.experts.is_some() && setup.model.family != Family::GptOss {
            // Experts are published one by one: transformers' loader threads run ahead into the next block while those of a block are stacked, and cut
            // the segment that was made for the weights as their timing has it.
            known = known.at_least(0.12);
        }
        if is_loaded_otherwise(setup) {
            // By its source alone: no run of ours loads so.
            known = Self { allocated: known.allocated.max(0.03), ..known.at_least(0.1) };
        }
        if !differences::of(setup.train.script).is_empty() {
            // Another trainer, by its source: its kernels may keep less, its casts may take more.
            known = Self { allocated: known.allocated.max(0.1), ..known.at_least(0.2) };
        }
        if setup.engine == EngineName::Unsloth && setup.adapter.is_none() {
            // Inductor chooses pools of buffers when it compiles.
            known = known.at_least(0.065);
        }
        known
    }

    fn on_several(setup: &Setup, parallel: Parallel) -> Self {
        // What was measured often on two cards.
        let plain =
            setup.eval.is_none() && setup.train.precision != Precision::Bf16Pure && setup.model.experts.is_none();
        match parallel.kind {
            _ if parallel.is_measured() && plain => Self { reserved: 0.027, ..Self::WELL },
            // Gathered groups that stay, and gradients that wait, are on streams whose segments nothing else takes.
            ParallelKind::Ddp | ParallelKind::Fsdp2 => Self { allocated: 0.03, ..Self::WELL.at_least(0.1) },
            ParallelKind::Zero1 | ParallelKind::Zero2 | ParallelKind::Tensor if !parallel.offload => {
                Self { allocated: 0.03, ..Self::WELL.at_least(0.12) }
            }
            // Allocated within 0.6 % in a few runs, reserved within a third.
            _ => Self { allocated: 0.05, ..Self::WELL.at_least(0.35) },
        }
    }

    /// With reserved bytes known no better than this; as much has to stay free under a limit.
    fn at_least(self, reserved: f64) -> Self {
        Self { reserved: self.reserved.max(reserved), edge: self.edge.max(reserved), ..self }
    }
}

/// Weights are loaded in another type than that of measured runs: float32 where all are trained under autocast, else that of compute.
fn is_loaded_otherwise(setup: &Setup) -> bool {
    let usual = match setup.train.precision {
        Precision::Bf16 | Precision::Fp16 | Precision::F32 if setup.adapter.is_none() => Float::F32,
        Precision::Fp16 | Precision::Fp16Pure => Float::Fp16,
        _ => Float::Bf16,
    };
    setup.train.base_dtype.is_some_and(|loaded| loaded != usual)
}

/// Runs like this were measured, on such a card.
pub(super) fn is_measured(setup: &Setup) -> bool {
    if is_loaded_otherwise(setup) || !differences::of(setup.train.script).is_empty() {
        return false;
    }
    let several = setup.parallel.filter(|parallel| parallel.world() > 1);
    MEASURED.contains(&setup.device.name.as_str()) && several.is_none_or(Parallel::is_measured)
}
