//! # tensor-parallel-indivisible (DST011)
//!
//! ## What it does
//! Finds tensor parallelism over a number of cards that does not divide the model's heads, key heads and MLP.
//!
//! ## Why is this bad?
//! transformers cuts linears into equal parts and reshapes them to heads. Where a head would be cut, loading or the first step stops with
//! a size that does not match.
//!
//! ## Example
//! ```mem
//! plan "split" {
//!   model  = "Qwen/Qwen2.5-0.5B"
//!   device = l4
//!   engine = trl
//!   parallel tensor { gpus = 4 }
//!   data { context = 512tok }
//!   train { precision = bf16; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Use instead
//! ```mem
//! plan "split" {
//!   model  = "Qwen/Qwen2.5-0.5B"
//!   device = l4
//!   engine = trl
//!   parallel tensor { gpus = 2 }
//!   data { context = 512tok }
//!   train { precision = bf16; learning_rate = 2e-5 }
//! }
//! ```
//!
//! ## Fix safety
//! Unsafe: fewer cards have more to hold each.
//!
//! ## References
//! - transformers 5.17, `distributed/tensor_parallel.py`: "must be divisible by the tensor parallel size"

use memspec::plan::ParallelKind;
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| !divides(setup, setup.world()))?;
        let (model, world) = (&setup.model, setup.world());
        let fewer = (2..world).rev().find(|fewer| divides(setup, *fewer));
        let message = format!(
            "{world} cards cannot share {} heads, {} key heads and an MLP of {} evenly",
            model.heads, model.kv_heads, model.intermediate
        );
        let finding = Finding::new(rule, message).at(plan.written, "parallel", "cuts linears into equal parts").at(
            plan.written,
            "model",
            format!("has {} key heads", model.kv_heads),
        );
        let single = setup.parallel.is_some_and(|parallel| parallel.nodes == 1);
        Some(match fewer.filter(|_| single) {
            Some(fewer) => finding.help(format!("use {fewer} cards, or `parallel fsdp2`")).fix(context.set(
                plan,
                "parallel.gpus",
                &fewer.to_string(),
                Applicability::Unsafe,
            )),
            None => finding.help("use `parallel fsdp2`"),
        })
    })
}

/// So many cards share the model's parts evenly, or tensor parallelism is not asked for.
fn divides(setup: &Setup, world: u64) -> bool {
    let model = &setup.model;
    let split = setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Tensor);
    !split || [model.heads, model.kv_heads, model.intermediate].iter().all(|part| part.is_multiple_of(world))
}
