//! Rotary position embedding, in place.

use burn::backend::Flex;
use rayon::prelude::*;

use super::{elements, elements_mut, matrix_shape, starts};
use crate::kernels::storage::F32;
use crate::kernels::{Heads, Samples};

pub(super) fn rotate(mut x: F32, cos: &F32, sin: &F32, samples: &Samples<Flex>, heads: Heads, inverse: bool) -> F32 {
    let (_, width) = matrix_shape(&x);
    let (_, half) = matrix_shape(cos);
    let (cos, sin) = (elements(cos), elements(sin));
    let starts = starts(samples);
    let sign = if inverse { -1.0 } else { 1.0 };
    elements_mut(&mut x).par_chunks_mut(width).enumerate().for_each(|(token, row)| {
        let position = token % heads.context - starts.map_or(0, |starts| starts[token] as usize);
        let cos = &cos[position * half..][..half];
        let sin = &sin[position * half..][..half];
        for head in row.chunks_exact_mut(heads.head_dim) {
            let (left, right) = head[..2 * half].split_at_mut(half);
            for (((l, r), c), s) in left.iter_mut().zip(right).zip(cos).zip(sin) {
                let s = sign * s;
                (*l, *r) = (*l * c - *r * s, *r * c + *l * s);
            }
        }
    });
    x
}
