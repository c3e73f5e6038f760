//! Attention and rotary embedding.

use burn::tensor::{Int, Tensor};

use super::inputs::{Check, Inputs, Outputs, starts};
use crate::kernels::place::fetch;
use crate::kernels::{self, Heads};

const WIDE: Heads = Heads { context: 150, heads: 4, kv_heads: 2, head_dim: 128, window: None };

/// The same heads over rows that end in the middle of every tile.
const LONG: Heads = Heads { context: 333, ..WIDE };

/// An odd number of heads over an odd number of tokens.
const NINE: Heads = Heads { context: 151, heads: 9, kv_heads: 3, ..WIDE };

/// Heads of which one key's are read by four queries', over rows of several tiles of each kind: of 64, 128 and 192 tokens and the rest.
const MANY: Heads = Heads { context: 700, heads: 8, kv_heads: 2, head_dim: 64, window: None };

/// Samples that end at a tile's end, just before and just after one; the rest of a row of 700 is filled up.
const CUTS: &[usize] = &[63, 1, 64, 65, 128, 190, 2, 127];

impl Inputs {
    /// Attention and its gradients over so many rows.
    fn heads(&self, heads: Heads, rows: usize) -> Outputs {
        self.attention(heads, rows, None)
    }

    /// The same with samples of these lengths in each row, whose rest is filled up.
    fn packed_heads(&self, heads: Heads, rows: &[&[usize]]) -> Outputs {
        let starts: Vec<i32> = rows.iter().flat_map(|lengths| starts(lengths, heads.context)).collect();
        self.attention(heads, rows.len(), Some(self.place.integers(&starts)))
    }

    fn attention(&self, heads: Heads, rows: usize, starts: Option<Tensor<1, Int>>) -> Outputs {
        let starts = starts.as_ref();
        let (tokens, width, kv) = (rows * heads.context, heads.heads * heads.head_dim, heads.kv_heads * heads.head_dim);
        let (q, k, v) =
            (self.active("q", [tokens, width]), self.active("k", [tokens, kv]), self.active("v", [tokens, kv]));
        let g = self.active("g", [tokens, width]);
        let (out, lse) = kernels::attention(&q, &k, &v, starts, heads);
        let mut outputs = vec![fetch(&out)?, fetch(&lse)?];
        let (gq, gk, gv) = kernels::attention_backward(q, &k, &v, &out, &lse, &g, starts, heads);
        outputs.extend([fetch(&gq)?, fetch(&gk)?, fetch(&gv)?]);
        Ok(outputs)
    }
}

pub(super) const CHECKS: &[Check] = &[
    ("rotary and its transpose", 2e-6, 6e-3, |at| {
        let (cos, sin) = (at.full("cos", [5, 8]), at.full("sin", [5, 8]));
        let heads = |head_dim| Heads { context: 5, heads: 48 / head_dim, kv_heads: 1, head_dim, window: None };
        let turn =
            |head_dim, inverse| kernels::rotary(at.active("x", [10, 48]), &cos, &sin, None, heads(head_dim), inverse);
        // The second two heads of 24 elements have 8 that are not rotated.
        let starts = at.place.integers(&starts(&[2, 3], 5).repeat(2));
        let packed = kernels::rotary(at.active("x", [10, 48]), &cos, &sin, Some(&starts), heads(24), false);
        let turned = [turn(16, false), turn(16, true), turn(24, false), turn(24, true), packed];
        turned.iter().map(fetch).collect()
    }),
    ("rotary of packed samples and its transpose", 2e-6, 6e-3, |at| {
        let (cos, sin) = (at.full("cos", [7, 8]), at.full("sin", [7, 8]));
        // Two rows that are packed otherwise, and heads that are rotated whole and in part.
        let starts = at.place.integers(&[starts(&[2, 7, 1], 11), starts(&[5, 6], 11)].concat());
        let turn = |head_dim, inverse| {
            let heads = Heads { context: 11, heads: 48 / head_dim, kv_heads: 1, head_dim, window: None };
            kernels::rotary(at.active("x", [22, 48]), &cos, &sin, Some(&starts), heads, inverse)
        };
        [turn(16, false), turn(16, true), turn(24, false), turn(24, true)].iter().map(fetch).collect()
    }),
    ("attention, heads of 16", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 37, heads: 6, kv_heads: 2, head_dim: 16, window: None }, 2)
    }),
    ("attention, heads of 64", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 200, heads: 6, kv_heads: 2, head_dim: 64, window: None }, 2)
    }),
    ("attention, heads of 128", 5e-6, 1e-2, |at| at.heads(WIDE, 2)),
    ("attention, window", 5e-6, 1e-2, |at| at.heads(Heads { window: Some(70), ..WIDE }, 1)),
    ("attention, small window", 5e-6, 1e-2, |at| {
        at.heads(Heads { context: 260, heads: 2, kv_heads: 2, head_dim: 64, window: Some(5) }, 1)
    }),
    ("attention of packed samples, heads of 16", 5e-6, 1e-2, |at| {
        let heads = Heads { context: 37, heads: 6, kv_heads: 2, head_dim: 16, window: None };
        at.packed_heads(heads, &[&[1, 9, 20, 3], &[30, 7]])
    }),
    ("attention of packed samples, heads of 64", 5e-6, 1e-2, |at| {
        let heads = Heads { context: 460, heads: 6, kv_heads: 2, head_dim: 64, window: None };
        at.packed_heads(heads, &[&[130, 64, 3, 1, 200, 40], &[460]])
    }),
    ("attention of packed samples, heads of 128", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, ..WIDE }, &[&[33, 190, 60], &[128, 128, 44]])
    }),
    ("attention of packed samples, window", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, window: Some(40), ..WIDE }, &[&[33, 190, 60]])
    }),
    ("attention of rows packed otherwise, 64", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { head_dim: 64, ..LONG }, &[&[150, 150, 20], &[333], &[1, 2, 64, 200]])
    }),
    ("attention of rows packed otherwise, 128", 5e-6, 1e-2, |at| {
        at.packed_heads(LONG, &[&[150, 150, 20], &[333], &[1, 2, 64, 200]])
    }),
    ("attention of packed samples, window, 64", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { head_dim: 64, window: Some(65), ..LONG }, &[&[200, 133], &[333], &[40, 63, 1, 129]])
    }),
    ("attention of packed samples, window, 128", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { window: Some(65), ..LONG }, &[&[200, 133], &[333], &[40, 63, 1, 129]])
    }),
    ("attention of one long sample, 64", 5e-6, 1e-2, |at| at.packed_heads(Heads { head_dim: 64, ..WIDE }, &[&[150]])),
    ("attention of one long sample, 128", 5e-6, 1e-2, |at| at.packed_heads(WIDE, &[&[150]])),
    // Three queries' heads read one key's, and the last warp of what is summed up head by head is not full.
    ("attention of 9 heads, 64", 5e-6, 1e-2, |at| at.heads(Heads { head_dim: 64, ..NINE }, 1)),
    ("attention of 9 heads, 128", 5e-6, 1e-2, |at| at.heads(NINE, 1)),
    ("attention, window wider than the row", 5e-6, 1e-2, |at| at.heads(Heads { window: Some(4096), ..WIDE }, 2)),
    ("attention of 700 tokens, 64", 1e-5, 1e-2, |at| at.heads(MANY, 2)),
    ("attention of 700 tokens, 128", 1e-5, 1e-2, |at| at.heads(Heads { head_dim: 128, ..MANY }, 2)),
    ("attention of 700 tokens, window", 1e-5, 1e-2, |at| at.heads(Heads { window: Some(129), ..MANY }, 2)),
    ("attention of 700 tokens, packed", 1e-5, 1e-2, |at| at.packed_heads(MANY, &[CUTS, &[320, 256, 64, 60]])),
    ("attention of 700 tokens, packed, 128", 1e-5, 1e-2, |at| {
        at.packed_heads(Heads { head_dim: 128, window: Some(192), ..MANY }, &[CUTS, &[320, 256, 64, 60]])
    }),
];
