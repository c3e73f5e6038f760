//! Causal attention over blocks of query rows: memory is linear in the context. Of the columns that a block's mask hides, those after its
//! last query and those before what its first query sees are never computed.

use std::ops::Range;

use burn::backend::Flex;
use gemm::Parallelism;
use rayon::prelude::*;

use super::elementwise::exp;
use super::matrix::{Target, View, multiply};
use super::{elements, elements_mut, matrix_shape, starts};
use crate::kernels::storage::{F32, unfilled, zeros};
use crate::kernels::{Heads, Samples};

/// Query rows whose scores exist at a time, for each thread.
const ROWS: usize = 64;

/// Score matrices for each thread, `matrices` of `[ROWS, context]`.
fn scratch(heads: &Heads, matrices: usize) -> (F32, usize) {
    let one = matrices * ROWS.min(heads.context) * heads.context;
    (unfilled([rayon::current_num_threads(), one]), one)
}

/// A pointer into scratch or output that parallel tasks index disjointly.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: each use below says why its elements are touched by one task only.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// # Safety
    /// The elements must be valid and touched by no other task for as long as the slice lives.
    unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len) }
    }

    /// # Safety
    /// As [`Target::new`].
    unsafe fn target(self, start: usize, row_stride: usize) -> Target {
        // SAFETY: by the caller.
        unsafe { Target::new(self.0.add(start), row_stride) }
    }
}

/// This thread's part of the scratch.
///
/// # Safety
/// `scratch` must have `one` elements for each thread of the pool; the slice must be gone before the task ends.
unsafe fn mine<'a>(scratch: Shared, one: usize) -> &'a mut [f32] {
    let thread = rayon::current_thread_index().unwrap_or(0);
    // SAFETY: a thread runs one task at a time (no task waits on another), and parts do not overlap.
    unsafe { scratch.slice(thread * one, one) }
}

/// What a token sees: keys from here to its own. It never falls from one token of a row to the next.
#[derive(Clone, Copy)]
struct Sight<'a> {
    starts: Option<&'a [i32]>,
    window: Option<usize>,
    context: usize,
}

impl<'a> Sight<'a> {
    fn new(samples: &'a Samples<Flex>, heads: Heads) -> Self {
        Self { starts: starts(samples), window: heads.window, context: heads.context }
    }

    /// The first column that the token in `column` of `row` sees.
    fn from(self, row: usize, column: usize) -> usize {
        let window = self.window.map_or(0, |window| (column + 1).saturating_sub(window));
        window.max(self.starts.map_or(0, |starts| starts[row * self.context + column] as usize))
    }
}

pub(super) fn forward(q: &F32, k: &F32, v: &F32, samples: &Samples<Flex>, heads: Heads) -> (F32, F32) {
    let Heads { context, heads: count, kv_heads, head_dim, .. } = heads;
    let (tokens, width) = matrix_shape(q);
    let kv_width = kv_heads * head_dim;
    let (q, k, v) = (elements(q), elements(k), elements(v));
    let sight = Sight::new(samples, heads);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (mut out, mut lse) = (unfilled([tokens, width]), unfilled([tokens, count]));
    let (mut scores, one) = scratch(&heads, 1);
    let out_start = Shared(elements_mut(&mut out).as_mut_ptr());
    let lse_start = Shared(elements_mut(&mut lse).as_mut_ptr());
    let scores_start = Shared(elements_mut(&mut scores).as_mut_ptr());

    (0..tokens / context * count).into_par_iter().for_each(|task| {
        let (sample, head) = (task / count, task % count);
        let kv = head / (count / kv_heads) * head_dim;
        let first = sample * context;
        // SAFETY: one thread, one part.
        let scores = unsafe { mine(scores_start, one) };
        for row in (0..context).step_by(ROWS) {
            let rows = ROWS.min(context - row);
            let from = sight.from(sample, row);
            let columns = row + rows - from;
            let queries = View::new(&q[(first + row) * width + head * head_dim..], rows, head_dim, width);
            let keys = View::new(&k[(first + from) * kv_width + kv..], columns, head_dim, kv_width);
            let values = View::new(&v[(first + from) * kv_width + kv..], columns, head_dim, kv_width);
            // SAFETY: `scores` is this task's.
            let target = unsafe { Target::new(scores.as_mut_ptr(), columns) };
            multiply(target, queries, keys.transposed(), scale, 0.0, Parallelism::None);
            for (index, scores) in scores[..rows * columns].chunks_exact_mut(columns).enumerate() {
                let seen = sight.from(sample, row + index) - from..row + index + 1 - from;
                let sum = softmax(scores, seen);
                // SAFETY: each task writes its own head's column.
                let lse = unsafe { lse_start.slice((first + row + index) * count + head, 1) };
                lse[0] = sum;
            }
            let probabilities = View::new(scores, rows, columns, columns);
            // SAFETY: each task writes its own head's columns of its own sample's rows.
            let target = unsafe { out_start.target((first + row) * width + head * head_dim, width) };
            multiply(target, probabilities, values, 1.0, 0.0, Parallelism::None);
        }
    });
    (out, lse)
}

/// Turns the scores of a token into probabilities of what is seen; returns their log-sum-exp.
fn softmax(scores: &mut [f32], seen: Range<usize>) -> f32 {
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let seen = &mut scores[seen];
    let largest = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    super::simd::run(
        #[inline(always)]
        || {
            for score in seen.iter_mut() {
                *score = exp(*score - largest);
            }
            sum = seen.iter().sum();
            let inverse = 1.0 / sum;
            for score in seen.iter_mut() {
                *score *= inverse;
            }
        },
    );
    largest + sum.ln()
}

pub(super) fn backward(
    mut q: F32,
    [k, v, out, lse, g]: [&F32; 5],
    samples: &Samples<Flex>,
    heads: Heads,
) -> (F32, F32, F32) {
    let Heads { context, heads: count, kv_heads, head_dim, .. } = heads;
    let (tokens, width) = matrix_shape(&q);
    let kv_width = kv_heads * head_dim;
    let group = count / kv_heads;
    let (k, v, out, lse, g) = (elements(k), elements(v), elements(out), elements(lse), elements(g));
    let sight = Sight::new(samples, heads);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let (mut gk, mut gv) = (zeros([tokens, kv_width]), zeros([tokens, kv_width]));
    let (mut scores, one) = scratch(&heads, 2);
    let q_elements = elements_mut(&mut q);
    let q_len = q_elements.len();
    let q_start = Shared(q_elements.as_mut_ptr());
    let gk_start = Shared(elements_mut(&mut gk).as_mut_ptr());
    let gv_start = Shared(elements_mut(&mut gv).as_mut_ptr());
    let scores_start = Shared(elements_mut(&mut scores).as_mut_ptr());

    // A task owns one key-value head and all query heads that it serves.
    (0..tokens / context * kv_heads).into_par_iter().for_each(|task| {
        let (sample, kv_head) = (task / kv_heads, task % kv_heads);
        let (first, kv) = (sample * context, kv_head * head_dim);
        // SAFETY: one thread, one part.
        let (p, dp) = unsafe { mine(scores_start, one) }.split_at_mut(one / 2);
        for head in kv_head * group..(kv_head + 1) * group {
            for row in (0..context).step_by(ROWS) {
                let rows = ROWS.min(context - row);
                let from = sight.from(sample, row);
                let columns = row + rows - from;
                let at = (first + row) * width + head * head_dim;
                // SAFETY: this head's columns of this sample's rows are read and written by this task only, and this view of
                // them is read for the last time before they are overwritten with their gradient below.
                let queries = unsafe { std::slice::from_raw_parts(q_start.0.add(at), q_len - at) };
                let queries = View::new(queries, rows, head_dim, width);
                let keys = View::new(&k[(first + from) * kv_width + kv..], columns, head_dim, kv_width);
                let values = View::new(&v[(first + from) * kv_width + kv..], columns, head_dim, kv_width);
                let g_rows = View::new(&g[at..], rows, head_dim, width);
                // SAFETY: both are this task's.
                let (p_target, dp_target) =
                    unsafe { (Target::new(p.as_mut_ptr(), columns), Target::new(dp.as_mut_ptr(), columns)) };
                multiply(p_target, queries, keys.transposed(), scale, 0.0, Parallelism::None);
                multiply(dp_target, g_rows, values.transposed(), 1.0, 0.0, Parallelism::None);
                for index in 0..rows {
                    let token = first + row + index;
                    let at = token * width + head * head_dim;
                    let along: f32 = out[at..at + head_dim].iter().zip(&g[at..at + head_dim]).map(|(o, g)| o * g).sum();
                    let line = index * columns..(index + 1) * columns;
                    let seen = sight.from(sample, row + index) - from..row + index + 1 - from;
                    let (p, dp) = (&mut p[line.clone()], &mut dp[line]);
                    softmax_backward(p, dp, seen, lse[token * count + head], along, scale);
                }
                let probabilities = View::new(p, rows, columns, columns);
                let to_scores = View::new(dp, rows, columns, columns);
                let keys_at = (first + from) * kv_width + kv;
                // SAFETY: this key-value head's columns of this sample's rows belong to this task.
                let (gk_target, gv_target) =
                    unsafe { (gk_start.target(keys_at, kv_width), gv_start.target(keys_at, kv_width)) };
                multiply(gv_target, probabilities.transposed(), g_rows, 1.0, 1.0, Parallelism::None);
                multiply(gk_target, to_scores.transposed(), queries, 1.0, 1.0, Parallelism::None);
                // SAFETY: as for `queries`, which is not read again.
                let q_target = unsafe { q_start.target(at, width) };
                multiply(q_target, to_scores, keys, 1.0, 0.0, Parallelism::None);
            }
        }
    });
    (q, gk, gv)
}

/// One row: scores of what is seen become probabilities, their gradient `dp` becomes the gradient of the scaled scores.
fn softmax_backward(p: &mut [f32], dp: &mut [f32], seen: Range<usize>, lse: f32, along: f32, scale: f32) {
    for row in [&mut *p, &mut *dp] {
        row[..seen.start].fill(0.0);
        row[seen.end..].fill(0.0);
    }
    let (p, dp) = (&mut p[seen.clone()], &mut dp[seen]);
    super::simd::run(
        #[inline(always)]
        || {
            for (p, dp) in p.iter_mut().zip(dp.iter_mut()) {
                *p = exp(*p - lse);
                *dp = *p * (*dp - along) * scale;
            }
        },
    );
}
