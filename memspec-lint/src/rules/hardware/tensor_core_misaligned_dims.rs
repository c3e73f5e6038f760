//! # tensor-core-misaligned-dims (HW012)
//!
//! ## What it does
//! Finds a `rank` that is no multiple of 8 on a graphics card that computes in 16 bits.
//!
//! ## Why is this bad?
//! Matrix units work on tiles: with a dimension of 16 bit numbers that is no multiple of 8 (16 bytes), cuBLAS takes slower kernels.
//! Small ranks are slow for other reasons too, so this is worth a look where the adapter is large.
//!
//! ## Example
//! ```mem
//! device = t4
//! adapter lora { rank = 12 }
//! ```
//!
//! ## Use instead
//! ```mem
//! device = t4
//! adapter lora { rank = 16 }
//! ```
//!
//! ## Fix safety
//! Unsafe: the adapter becomes larger.
//!
//! ## References
//! - <https://docs.nvidia.com/deeplearning/performance/dl-performance-matrix-multiplication/index.html>

use memspec::device::DeviceKind;
use memspec::plan::Precision;

use crate::context::Context;
use crate::diagnostic::Finding;
use crate::fix::Applicability;
use crate::registry::Rule;

/// Numbers of 16 bits in 16 bytes.
const TILE: u32 = 8;

pub(crate) fn check(rule: &Rule, context: &Context<'_>) -> Vec<Finding> {
    context.each(|plan| {
        let setup = plan.find(|setup| {
            setup.device.kind == DeviceKind::Cuda
                && setup.train.precision != Precision::F32
                && setup.adapter.as_ref().is_some_and(|adapter| !adapter.rank.is_multiple_of(TILE))
        })?;
        let better = setup.adapter.as_ref()?.rank.next_multiple_of(TILE).to_string();
        Some(
            Finding::new(rule, "the adapter's inner dimension does not fill the tiles of matrix units")
                .at(plan.written, "adapter.rank", format!("no multiple of {TILE}"))
                .help(format!("`rank = {better}` is likely as fast"))
                .fix(context.set(plan, "adapter.rank", &better, Applicability::Unsafe)),
        )
    })
}
