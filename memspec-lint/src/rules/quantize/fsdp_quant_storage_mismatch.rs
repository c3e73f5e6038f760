//! # fsdp-quant-storage-mismatch (QNT008)
//!
//! ## What it does
//! Finds packed weights under FSDP2 whose storage is not the type that the plan computes in: `uint8`, the default, or bfloat16 with
//! `fp16`.
//!
//! ## Why is this bad?
//! FSDP shards floats. Integers are left whole on every card: what is shared is everything but the base. And a storage of another float
//! type than that of mixed precision is cast when it is gathered, which destroys the packed bits. FSDP1 stops: "Must flatten tensors with
//! uniform dtype".
//!
//! ## Example
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! quantize nf4 { }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = l4
//! engine = trl
//! parallel fsdp2 { gpus = 2 }
//! quantize nf4 { storage = bf16 }
//! ```
//!
//! ## Fix safety
//! Safe: the same bits are stored.
//!
//! ## References
//! - <https://huggingface.co/docs/bitsandbytes/main/fsdp_qlora>
//! - <https://github.com/huggingface/peft/issues/1432>
//! - PyTorch 2.11, `torch/distributed/fsdp/_fully_shard/_fsdp_param.py`: `init_dtype_attrs`

use memspec::plan::{ParallelKind, Precision, QuantizeKind, Storage};
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(is_mismatched)?;
        let half = setup.train.precision == Precision::Fp16;
        let storage = setup.quantize.as_ref()?.storage;
        let (message, words) = match storage {
            Storage::Uint8 => ("FSDP2 does not shard weights that are packed as integers", "whole on every card"),
            _ => ("FSDP2's mixed precision casts packed weights, which destroys them", "is cast to fp16"),
        };
        let finding = Finding::new(rule, message).at(plan.written, "quantize.storage", words).at(
            plan.written,
            "parallel",
            "shards floats, and casts them to the training precision",
        );
        Some(if half {
            finding.help("train in `bf16` with `storage = bf16`, or use `parallel ddp`")
        } else {
            let fix = context.set(plan, "quantize.storage", "bf16", Applicability::Safe);
            finding.help("use `storage = bf16`: the same bits under another name").fix(fix)
        })
    })
}

fn is_mismatched(setup: &Setup) -> bool {
    let sharded = setup.parallel.is_some_and(|parallel| parallel.kind == ParallelKind::Fsdp2 && parallel.world() > 1);
    let half = setup.train.precision == Precision::Fp16;
    sharded
        && setup.quantize.as_ref().is_some_and(|quantize| {
            matches!(quantize.kind, QuantizeKind::Nf4 | QuantizeKind::Fp4)
                && (quantize.storage == Storage::Uint8 || (quantize.storage == Storage::Bf16 && half))
        })
}
