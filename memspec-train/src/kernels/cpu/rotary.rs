//! Rotary position embedding, in place.

use rayon::prelude::*;

use super::{elements, elements_mut, matrix_shape};
use crate::kernels::Heads;
use crate::kernels::storage::F32;

pub(super) fn rotate(mut x: F32, cos: &F32, sin: &F32, heads: Heads, inverse: bool) -> F32 {
    let (_, width) = matrix_shape(&x);
    let (_, half) = matrix_shape(cos);
    let (cos, sin) = (elements(cos), elements(sin));
    let sign = if inverse { -1.0 } else { 1.0 };
    elements_mut(&mut x).par_chunks_mut(width).enumerate().for_each(|(token, row)| {
        let position = token % heads.context;
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
