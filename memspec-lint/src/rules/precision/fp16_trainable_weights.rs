//! # fp16-trainable-weights (PRE002)
//!
//! ## What it does
//! Finds training in `fp16` of weights that are stored as float16: an adapter with `dtype = fp16`, or modules trained whole beside
//! an adapter of a base in 16 bits.
//!
//! ## Why is this bad?
//! PyTorch's gradient scaler refuses float16 gradients at the first step: "Attempting to unscale FP16 gradients". What is trained
//! has to be float32; autocast computes with it in float16.
//!
//! ## Example
//! ```mem
//! device = t4
//! engine = trl
//! adapter lora {
//!   rank  = 16
//!   dtype = fp16
//! }
//! train { precision = fp16 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! engine = trl
//! adapter lora {
//!   rank  = 16
//!   dtype = f32
//! }
//! train { precision = fp16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter is computed and kept in other bits. There is no fix for modules trained whole.
//!
//! ## References
//! - PyTorch 2.11, `torch/amp/grad_scaler.py`: `_unscale_grads_`
//! - <https://github.com/haotian-liu/LLaVA/issues/363>

use memspec::plan::{EngineName, Float, Precision, Script};
use memspec::setup::Setup;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let (setting, words) = plan.find(|setup| cause(setup).is_some()).and_then(cause)?;
        let finding = Finding::new(rule, "PyTorch's gradient scaler refuses float16 gradients")
            .at(plan.written, setting, words)
            .at(plan.written, "train.precision", "scales gradients")
            .help("train in `bf16` where the device has it; else keep what is trained in float32");
        Some(match setting {
            "adapter.dtype" => finding.fix(context.set(plan, setting, "f32", Applicability::Unsafe)),
            _ => finding,
        })
    })
}

/// The setting that makes float16 parameters of what is trained.
fn cause(setup: &Setup) -> Option<(&'static str, &'static str)> {
    let scaled = setup.engine != EngineName::Memspec && setup.train.precision == Precision::Fp16;
    let adapter = setup.adapter.as_ref().filter(|_| scaled)?;
    // SFTTrainer casts the adapters of a quantized model itself (`trl/trainer/sft_trainer.py`).
    let kept = setup.quantize.is_none() || setup.train.script != Script::Sft;
    if adapter.dtype == Some(Float::Fp16) && kept {
        Some(("adapter.dtype", "gradients in float16"))
    } else if !adapter.train_whole.is_empty() && setup.quantize.is_none() {
        Some(("adapter.train_whole", "copies of float16 modules"))
    } else {
        None
    }
}
