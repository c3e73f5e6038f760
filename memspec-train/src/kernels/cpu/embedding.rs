//! Looking tokens up in the embedding table.

use super::{elements, elements_mut, matrix_shape};
use crate::kernels::storage::{F32, unfilled};

pub(super) fn forward(table: &F32, ids: &F32) -> F32 {
    let (_, width) = matrix_shape(table);
    let ids = ids.storage::<i32>();
    let table = elements(table);
    let mut out = unfilled([ids.len(), width]);
    for (row, &id) in elements_mut(&mut out).chunks_exact_mut(width).zip(ids) {
        let start = id as usize * width;
        row.copy_from_slice(&table[start..start + width]);
    }
    out
}

pub(super) fn backward(mut grad: F32, ids: &F32, g: &F32) -> F32 {
    let (_, width) = matrix_shape(g);
    let ids = ids.storage::<i32>();
    let rows = elements_mut(&mut grad);
    for (g, &id) in elements(g).chunks_exact(width).zip(ids) {
        let start = id as usize * width;
        for (to, g) in rows[start..start + width].iter_mut().zip(g) {
            *to += g;
        }
    }
    grad
}
