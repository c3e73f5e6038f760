//! # device-map-with-zero3 (DST001)
//!
//! ## What it does
//! Finds a `device_map` under ZeRO 3.
//!
//! ## Why is this bad?
//! ZeRO 3 takes every weight apart while it is loaded, and a map says where whole ones go: transformers refuses to load the model ("DeepSpeed Zero-3
//! is not compatible with passing a `device_map`"). `low_cpu_mem_usage`, which was refused with it, is ignored since transformers 5. axolotl and
//! LLaMA-Factory leave the map out under ZeRO 3 by themselves, as SFTTrainer does where it loads the model from its name.
//!
//! ## Example
//! ```mem
//! device = "a100-80"
//! engine = trl
//! parallel zero3 { gpus = 2 }
//! train { device_map = auto }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = "a100-80"
//! engine = trl
//! parallel zero3 { gpus = 2 }
//! train { device_map = none }
//! ```
//!
//! ## Fix safety
//! Safe: a run that does not start has no course that could change.
//!
//! ## References
//! - transformers 5.24, `integrations/accelerate.py`: `check_and_set_device_map`
//! - TRL 1.15, `trainer/sft_trainer.py`: "Distributed training requires device_map=None"
//! - <https://github.com/huggingface/peft/issues/306>

use memspec::plan::{DeviceMap, ParallelKind, Script};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            setup.train.device_map != DeviceMap::None
                // The other trainers leave it out.
                && matches!(setup.train.script, Script::Sft | Script::Loop)
                && setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Zero3)
        })?;
        Some(
            Finding::new(rule, "transformers loads no model with a `device_map` under ZeRO 3")
                .at(plan.written, "train.device_map", "says where whole weights go")
                .at(plan.written, "parallel", "takes them apart as they are loaded")
                .help("remove it: ZeRO 3 places the weights")
                .fix(context.remove(plan, "train.device_map", Applicability::Safe)),
        )
    })
}
