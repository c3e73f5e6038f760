//! From pixels to the first block's input, and what all blocks share.

use super::super::super::super::torch::{Tape, Tensor};
use super::super::{ACTIVATION_GRADIENTS, BATCH, Shape, norm};
use super::block::Shared;
use super::form::{Attention, Form, Rotation};
use super::weights::Tower;
use crate::model::{Dtype, Vision, VisionKind};

/// Pixels in the model's type, where they are another's.
pub(super) fn pixels(tape: &mut Tape<'_>, shape: &Shape, vision: &Vision) -> Option<Tensor> {
    let cast = shape.dtype != Dtype::F32;
    cast.then(|| tape.new_as(BATCH, shape.images.patches * vision.patch_width(), shape.dtype))
}

/// Rows of the tower's sequence: patches, and a class token for each image where there is one.
pub(super) fn rows(shape: &Shape, vision: &Vision) -> u64 {
    shape.images.patches + if vision.kind == VisionKind::Llava { shape.images.count } else { 0 }
}

/// The first block's input.
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, tower: &Tower, vision: &Vision) -> Tensor {
    let form = Form::of(vision);
    let (patches, width) = (shape.images.patches, vision.hidden);
    let dtype = tape.autocast.unwrap_or(shape.dtype);
    let mut x = {
        let _pixels = if form.keeps_pixels { None } else { pixels(tape, shape, vision) };
        // A convolution.
        tape.new_tensor(patches * width, dtype)
    };
    if shape.checkpointing && form.hooked {
        tape.leaf(&mut x, ACTIVATION_GRADIENTS, true);
    }
    let rows = rows(shape, vision);
    match vision.kind {
        VisionKind::Qwen2Vl => x,
        // Into the order of windows.
        VisionKind::Qwen25Vl { .. } => tape.gather(&x, x.elements, patches / (vision.merge * vision.merge).max(1)),
        VisionKind::Qwen3Vl { .. } => {
            let positions = interpolated(tape, shape, x.elements);
            let positions = tape.cast(&positions, dtype);
            tape.add(&x, &positions)
        }
        VisionKind::Gemma3 => {
            let _positions = tape.new_tensor(patches / shape.images.count.max(1) * width, shape.dtype);
            tape.shift(&x.rows_first(form.channels_first))
        }
        VisionKind::Llava => {
            let x = tape.concatenate(&[&x], rows * width);
            let sum = {
                let _positions = tape.new_tensor(rows / shape.images.count.max(1) * width, shape.dtype);
                tape.shift(&x)
            };
            drop(x);
            first_norm(tape, form, tower, sum, rows)
        }
        VisionKind::Pixtral { .. } => {
            let x = tape.concatenate(&[&x], rows * width);
            first_norm(tape, form, tower, x, rows)
        }
    }
}

fn first_norm(tape: &mut Tape<'_>, form: Form, tower: &Tower, x: Tensor, rows: u64) -> Tensor {
    match &tower.before {
        Some(norm) => norm::of_kind(tape, form.norm, &x, norm, rows),
        None => x,
    }
}

/// Four of the learned positions around each patch, weighed in float32 and summed (`modeling_qwen3_vl.py:716`).
fn interpolated(tape: &mut Tape<'_>, shape: &Shape, elements: u64) -> Tensor {
    let corners = tape.new_tensor(4 * elements, shape.dtype);
    let weighed = tape.new_tensor(4 * elements, Dtype::F32);
    let sum = tape.new_tensor(elements, Dtype::F32);
    drop((corners, weighed));
    sum
}

/// Cosines and sines, and the mask.
pub(super) fn shared(tape: &mut Tape<'_>, shape: &Shape, vision: &Vision, dtype: Dtype) -> Shared {
    let form = Form::of(vision);
    let elements = shape.images.patches * (vision.hidden / vision.heads.max(1));
    let tables = match form.rotation {
        Rotation::None => None,
        Rotation::Wide => Some(Dtype::F32),
        Rotation::Own => Some(dtype),
    };
    let tables = tables.map(|dtype| [(); 2].map(|()| tape.new_tensor(elements, dtype)));
    let masked = form.attention == Attention::Masked && !shape.flash;
    let mask = masked.then(|| tape.new_tensor(shape.images.patches * shape.images.patches, dtype));
    Shared { tables, mask }
}
