//! A micro batch: token ids, labels and the attention mask, and pixels where there are images.

use super::super::super::torch::{Tape, Tensor};
use super::{BATCH, Shape};
use crate::model::Dtype;

/// The next batch; the one before is freed once it is there.
pub(in crate::cost::engine) fn make(tape: &mut Tape<'_>, shape: &Shape, before: Vec<Tensor>) -> Vec<Tensor> {
    let mut batch: Vec<Tensor> = (0..3).map(|_| tape.new_as(BATCH, shape.rows, Dtype::I64)).collect();
    if let Some(vision) = shape.model.vision.as_ref().filter(|_| shape.images.count > 0) {
        batch.push(tape.new_as(BATCH, shape.images.patches * vision.patch_width(), Dtype::F32));
    }
    drop(before);
    batch
}
