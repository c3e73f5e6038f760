//! Compiling a region: timing its kernels.

use super::super::super::torch::Tape;
use super::{BENCHMARK, Sizes};
use crate::model::Dtype;

/// Inductor times the candidates of a kernel with a cold cache: it overwrites a buffer of the L2 cache's size
/// (`torch/_inductor/runtime/benchmarking.py:383`, `InductorBenchmarker.benchmark_gpu`), twice.
pub(super) fn time_a_kernel(tape: &mut Tape<'_>, sizes: &Sizes, first: bool) {
    if first {
        for _ in 0..2 {
            drop(tape.new_as(BENCHMARK, sizes.l2_cache, Dtype::U8));
        }
    }
}
