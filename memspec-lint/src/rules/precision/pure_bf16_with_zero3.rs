//! # pure-bf16-with-zero3 (PRE008)
//!
//! ## What it does
//! Finds `bf16_pure` under DeepSpeed's ZeRO 3.
//!
//! ## Why is this bad?
//! DeepSpeed casts the model itself and keeps float32 master weights of its own, so nothing is pure there. LLaMA-Factory refuses it
//! ("`pure_bf16` is incompatible with DeepSpeed ZeRO-3").
//!
//! ## Example
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   parallel zero3 { gpus = 2 }
//!   data { context = 512tok }
//!   train { precision = bf16_pure; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "full" {
//!   model  = "HuggingFaceTB/SmolLM2-135M-Instruct"
//!   device = l4
//!   engine = trl
//!   parallel zero3 { gpus = 2 }
//!   data { context = 512tok }
//!   train { precision = bf16; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: master weights are in float32.
//!
//! ## References
//! - LLaMA-Factory 0.9.5, `hparams/parser.py`

use memspec::plan::{ParallelKind, Precision};

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        plan.find(|setup| {
            setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Zero3)
                && setup.train.precision == Precision::Bf16Pure
        })?;
        Some(
            Finding::new(rule, "ZeRO 3 keeps float32 master weights, whatever the precision says")
                .at(plan.written, "train.precision", "is not pure under DeepSpeed")
                .at(plan.written, "parallel", "")
                .help("use `precision = bf16`, or `parallel fsdp2`")
                .fix(context.set(plan, "train.precision", "bf16", Applicability::Unsafe)),
        )
    })
}
