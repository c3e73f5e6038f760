//! Which kernels compute attention: the flash kernels where they know the head, else the plain ones.

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, Number};
use super::tensor::{matrix_shape, unfilled};
use super::typed;
use crate::kernels::compile::Source;
use crate::kernels::{Heads, Samples};

/// Queries of one block of the flash kernels, where it owns queries.
const QUERIES: usize = 128;
/// Keys of one block, where it owns keys, and keys at a time in forward.
const KEYS: usize = 64;

/// The flash kernels for these heads.
struct Flash {
    source: Source,
    head_dim: u32,
    /// Rows of the other side at a time in backward.
    step: u32,
}

fn flash(dtype: DType, heads: &Heads) -> Option<Flash> {
    match (dtype, heads.head_dim) {
        (DType::BF16, 64) => Some(Flash { source: Source::Flash64, head_dim: 64, step: 64 }),
        (DType::BF16, 128) => Some(Flash { source: Source::Flash128, head_dim: 128, step: 32 }),
        (DType::F16, 64) => Some(Flash { source: Source::Flash64F16, head_dim: 64, step: 64 }),
        (DType::F16, 128) => Some(Flash { source: Source::Flash128F16, head_dim: 128, step: 32 }),
        _ => None,
    }
}

impl Flash {
    /// Bytes of a tile of so many rows.
    fn tile(&self, rows: u32) -> u32 {
        rows * self.head_dim * 2
    }

    /// A kernel whose blocks own `rows` tokens of one head.
    fn kernel(
        &self,
        name: &'static str,
        rows: usize,
        heads: usize,
        (tokens, context): (usize, usize),
        shared: u32,
    ) -> Kernel {
        let grid = ((heads * (tokens / context)) as u32, context.div_ceil(rows) as u32);
        Kernel { source: self.source, name, grid, threads: 128, shared }
    }
}

/// Context, heads, key-value heads, window (0: none) and scale, as all kernels take them; the plain ones also the head's elements.
fn numbers(heads: &Heads) -> [Number; 5] {
    let scale = 1.0 / (heads.head_dim as f32).sqrt();
    let whole = |number: usize| Number::U32(number as u32);
    [
        whole(heads.context),
        whole(heads.heads),
        whole(heads.kv_heads),
        whole(heads.window.unwrap_or(0)),
        Number::F32(scale),
    ]
}

fn plain_numbers(heads: &Heads) -> [Number; 6] {
    let [context, count, kv_heads, window, scale] = numbers(heads);
    [context, count, kv_heads, Number::U32(heads.head_dim as u32), window, scale]
}

/// One warp for each token and head.
fn plain(name: &'static str, tokens: usize, heads: usize) -> Kernel {
    Kernel { source: Source::AttentionPlain, name, grid: (tokens as u32, heads as u32), threads: 32, shared: 0 }
}

/// See [`crate::kernels::Kernels::attention`].
pub(super) fn forward(
    q: &CubeTensor,
    k: &CubeTensor,
    v: &CubeTensor,
    samples: &Samples<Cube>,
    heads: Heads,
) -> (CubeTensor, CubeTensor) {
    let (tokens, width) = matrix_shape(q);
    let out = unfilled(q, [tokens, width], q.dtype);
    let lse = unfilled(q, [tokens, heads.heads], DType::F32);
    let operands = [&out, &lse, q, k, v];
    match flash(q.dtype, &heads) {
        Some(flash) => {
            let shared = flash.tile(QUERIES as u32) + 4 * flash.tile(KEYS as u32);
            let kernel = flash.kernel("flash_forward", QUERIES, heads.heads, (tokens, heads.context), shared);
            kernel.run_for(samples, operands, 2, numbers(&heads));
        }
        None => {
            let kernel = plain(typed!(q.dtype, "attention"), tokens, heads.heads);
            kernel.run_for(samples, operands, 2, plain_numbers(&heads));
        }
    }
    (out, lse)
}

/// See [`crate::kernels::Kernels::attention_backward`]. The gradient of q is written last, over q.
pub(super) fn backward(
    q: CubeTensor,
    [k, v, out, lse, g]: [&CubeTensor; 5],
    samples: &Samples<Cube>,
    heads: Heads,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (tokens, _) = matrix_shape(&q);
    let (_, kv_width) = matrix_shape(k);
    let delta = unfilled(&q, [tokens, heads.heads], DType::F32);
    let gk = unfilled(&q, [tokens, kv_width], q.dtype);
    let gv = unfilled(&q, [tokens, kv_width], q.dtype);
    match flash(q.dtype, &heads) {
        Some(flash) => {
            let rows = tokens * heads.heads;
            let threads = rows * heads.head_dim / 8;
            Kernel::new(flash.source, "flash_delta", threads.div_ceil(256), 256).run(
                [&delta, out, g],
                1,
                [Number::U64(rows as u64)],
            );
            let other = 4 * flash.tile(flash.step);
            // Log-sum-exps and deltas of two steps lie behind the tiles.
            let shared = 2 * flash.tile(KEYS as u32) + other + 4 * flash.step * 4;
            flash.kernel("flash_key", KEYS, heads.kv_heads, (tokens, heads.context), shared).run_for(
                samples,
                [&gk, &gv, &q, k, v, lse, &delta, g],
                2,
                numbers(&heads),
            );
            let shared = 2 * flash.tile(QUERIES as u32) + other;
            flash.kernel("flash_query", QUERIES, heads.heads, (tokens, heads.context), shared).run_for(
                samples,
                [&q, k, v, lse, &delta, g],
                1,
                numbers(&heads),
            );
        }
        None => {
            let of_heads = [Number::U32(heads.heads as u32), Number::U32(heads.head_dim as u32)];
            plain(typed!(q.dtype, "attention_delta"), tokens, heads.heads).run([&delta, out, g], 1, of_heads);
            plain(typed!(q.dtype, "attention_key"), tokens, heads.kv_heads).run_for(
                samples,
                [&gk, &gv, &q, k, v, lse, &delta, g],
                2,
                plain_numbers(&heads),
            );
            plain(typed!(q.dtype, "attention_query"), tokens, heads.heads).run_for(
                samples,
                [&q, k, v, lse, &delta, g],
                1,
                plain_numbers(&heads),
            );
        }
    }
    (q, gk, gv)
}
