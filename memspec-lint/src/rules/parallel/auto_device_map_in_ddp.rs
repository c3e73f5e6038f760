//! # auto-device-map-in-ddp (DST002)
//!
//! ## What it does
//! Finds `device_map = auto` where several processes train: DDP, FSDP, and ZeRO 1 and 2.
//!
//! ## Why is this bad?
//! `auto` spreads the blocks over every card that a process sees, and under `torchrun` or `accelerate launch` each process sees all of them. accelerate
//! refuses such a model: "You can't train a model that has been loaded with `device_map='auto'` in any distributed mode". SFTTrainer leaves the map
//! out where it loads the model from its name, axolotl and LLaMA-Factory always do: there `auto` does no harm.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! engine = trl
//! parallel ddp { gpus = 2 }
//! train { device_map = auto }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "a100-80"
//! engine = trl
//! parallel ddp { gpus = 2 }
//! train { device_map = own }
//! ```
//!
//! ## Fix safety
//! Safe: a run that does not start has no course that could change.
//!
//! ## References
//! - accelerate 1.15, `accelerator.py`: `Accelerator.prepare_model`, `verify_device_map`
//! - TRL 1.15, `trainer/sft_trainer.py`: "Distributed training requires device_map=None"
//! - <https://github.com/huggingface/transformers/issues/31557>

use memspec::plan::{DeviceMap, ParallelKind, Script};
use memspec::setup::Parallel;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        // A loop of one's own need not ask accelerate.
        let setup = plan.find(|setup| {
            setup.train.device_map == DeviceMap::Auto
                && setup.train.script == Script::Sft
                && setup.world() > 1
                && setup.parallel.is_some_and(is_whole_when_loaded)
        })?;
        let kind = setup.parallel?.kind;
        // FSDP and ZeRO move the model themselves.
        let other = if kind == ParallelKind::Ddp { "own" } else { "none" };
        Some(
            Finding::new(rule, format!("accelerate trains no model that `device_map = auto` spread, under {kind}"))
                .at(plan.written, "train.device_map", "spreads the model over all cards")
                .at(plan.written, "parallel", "a process for each card")
                .help(format!("use `device_map = {other}`"))
                .fix(context.set(plan, "train.device_map", other, Applicability::Safe)),
        )
    })
}

/// ZeRO 3 refuses every map ([`super::device_map_with_zero3`]), and tensor parallelism has a plan of its own.
fn is_whole_when_loaded(parallel: Parallel) -> bool {
    matches!(parallel.kind, ParallelKind::Ddp | ParallelKind::Fsdp2 | ParallelKind::Zero1 | ParallelKind::Zero2)
}
