//! Which kernels compute attention: the flash kernels where they know the head, else the plain ones.

use burn::backend::Cube;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{Kernel, Number, capability_at};
use super::tensor::{matrix_shape, unfilled};
use super::typed;
use crate::kernels::compile::{Head, Short, Source};
use crate::kernels::{Heads, Samples};

/// Kernels that work on tiles, and how large these are: see `source/attention_flash.cu` and `source/attention_hopper.cu`.
struct Flash {
    source: Source,
    /// Bytes of a row of a tile: a head.
    row: usize,
    forward: Tiles,
    query: Tiles,
    key: Tiles,
}

/// The tiles of one kernel.
struct Tiles {
    /// Rows that a block owns.
    own: usize,
    /// Threads of a block.
    threads: u32,
    /// Rows of the other side at a time.
    step: usize,
    /// How many times these are in shared memory.
    stages: usize,
    /// Bytes beside the tiles.
    beside: usize,
}

fn flash(q: &CubeTensor, heads: &Heads) -> Option<Flash> {
    let head = Head::of(heads.head_dim)?;
    let short = match q.dtype {
        DType::BF16 => Short::Bf16,
        DType::F16 => Short::F16,
        _ => return None,
    };
    let source = Source::attention(head, short, capability_at(q).unwrap_or(0));
    // In the kernel of keys, the log-sum-exps and deltas of each stage lie behind the tiles; then come the barriers of a ring.
    let floats = |step, stages| 2 * 4 * step * stages;
    let row = 2 * heads.head_dim;
    Some(if matches!(source, Source::Hopper(..)) {
        let groups: u32 = if heads.head_dim == 128 { 3 } else { 2 };
        let (own, threads) = (64 * groups as usize, 128 * groups);
        Flash {
            source,
            row,
            forward: Tiles { own, threads, step: 64, stages: 5, beside: 8 * 5 },
            query: Tiles { own, threads, step: 64, stages: 4, beside: 8 * 4 },
            key: Tiles { own: 128, threads: 256, step: 64, stages: 4, beside: floats(64, 4) + 8 * 4 },
        }
    } else {
        let step = if heads.head_dim == 128 { 32 } else { 64 };
        Flash {
            source,
            row,
            forward: Tiles { own: 128, threads: 128, step: 64, stages: 2, beside: 0 },
            query: Tiles { own: 128, threads: 128, step, stages: 2, beside: 0 },
            key: Tiles { own: 64, threads: 128, step, stages: 2, beside: floats(step, 2) },
        }
    })
}

impl Flash {
    /// A kernel whose blocks own some tokens of one of `heads` heads, of which they keep so many tiles.
    fn kernel(
        &self,
        name: &'static str,
        tiles: &Tiles,
        kept: usize,
        heads: usize,
        (tokens, context): (usize, usize),
    ) -> Kernel {
        let grid = ((heads * (tokens / context)) as u32, context.div_ceil(tiles.own) as u32);
        // Of the other side there are always two: keys and values, or queries and the gradient of their outputs.
        let shared = (kept * tiles.own + 2 * tiles.stages * tiles.step) * self.row + tiles.beside;
        Kernel { source: self.source, name, grid, threads: tiles.threads, shared: shared as u32 }
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
    match flash(q, &heads) {
        Some(flash) => {
            let kernel = flash.kernel("flash_forward", &flash.forward, 1, heads.heads, (tokens, heads.context));
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
    match flash(&q, &heads) {
        Some(flash) => {
            let rows = tokens * heads.heads;
            let threads = rows * heads.head_dim / 8;
            Kernel::new(flash.source, "flash_delta", threads.div_ceil(256), 256).run(
                [&delta, out, g],
                1,
                [Number::U64(rows as u64)],
            );
            let kernel = flash.kernel("flash_key", &flash.key, 2, heads.kv_heads, (tokens, heads.context));
            kernel.run_for(samples, [&gk, &gv, &q, k, v, lse, &delta, g], 2, numbers(&heads));
            let kernel = flash.kernel("flash_query", &flash.query, 2, heads.heads, (tokens, heads.context));
            kernel.run_for(samples, [&q, k, v, lse, &delta, g], 1, numbers(&heads));
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
