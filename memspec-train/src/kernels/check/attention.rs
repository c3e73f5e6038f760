//! Attention and rotary embedding.

use super::inputs::{Check, Inputs, Outputs, starts};
use crate::kernels::place::fetch;
use crate::kernels::{self, Heads};

const WIDE: Heads = Heads { context: 150, heads: 4, kv_heads: 2, head_dim: 128, window: None };

impl Inputs {
    fn heads(&self, heads: Heads, rows: usize) -> Outputs {
        self.packed_heads(heads, rows, None)
    }

    /// The same with samples of these lengths in each row, whose rest is filled up.
    fn packed_heads(&self, heads: Heads, rows: usize, lengths: Option<&[usize]>) -> Outputs {
        let starts = lengths.map(|lengths| self.place.integers(&starts(lengths, heads.context).repeat(rows)));
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
        at.packed_heads(heads, 2, Some(&[1, 9, 20, 3]))
    }),
    ("attention of packed samples, heads of 64", 5e-6, 1e-2, |at| {
        let heads = Heads { context: 460, heads: 6, kv_heads: 2, head_dim: 64, window: None };
        at.packed_heads(heads, 2, Some(&[130, 64, 3, 1, 200, 40]))
    }),
    ("attention of packed samples, heads of 128", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, ..WIDE }, 2, Some(&[33, 190, 60]))
    }),
    ("attention of packed samples, window", 5e-6, 1e-2, |at| {
        at.packed_heads(Heads { context: 300, window: Some(40), ..WIDE }, 1, Some(&[33, 190, 60]))
    }),
];
