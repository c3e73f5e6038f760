//! From pixels to the first block's input, and what all blocks share.

use super::super::super::super::torch::{Tape, Tensor};
use super::super::weights::Parameter;
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
    let mut x = convolve(tape, shape, tower, vision);
    if shape.checkpointing && form.hooked && !x.requires_grad() {
        tape.leaf(&mut x, ACTIVATION_GRADIENTS, true);
    }
    let rows = rows(shape, vision);
    let embedding = &tower.embedding;
    match vision.kind {
        VisionKind::Qwen2Vl => x,
        // Into the order of windows.
        VisionKind::Qwen25Vl { .. } => tape.gather(&x, x.elements, patches_of_token(shape, vision)),
        VisionKind::Qwen3Vl { .. } => {
            let Some(table) = &embedding.positions else { return x };
            let positions = interpolated(tape, &table.tensor, x.elements);
            let positions = tape.cast(&positions, x.dtype);
            tape.add(&x, &positions)
        }
        VisionKind::Gemma3 => placed(tape, shape, &x.rows_first(form.channels_first), embedding.positions.as_ref()),
        VisionKind::Llava => {
            let classed = with_class(tape, shape, vision, &x, embedding.class.as_ref());
            let sum = placed(tape, shape, &classed, embedding.positions.as_ref());
            drop(classed);
            first_norm(tape, form, tower, sum, rows)
        }
        VisionKind::Pixtral { .. } => {
            let x = tape.concatenate(&[&x], rows * vision.hidden);
            first_norm(tape, form, tower, x, rows)
        }
    }
}

/// Squares of patches that become one token.
fn patches_of_token(shape: &Shape, vision: &Vision) -> u64 {
    shape.images.patches / (vision.merge * vision.merge).max(1)
}

/// The convolution: each patch once, so a product.
fn convolve(tape: &mut Tape<'_>, shape: &Shape, tower: &Tower, vision: &Vision) -> Tensor {
    let (patches, weight) = (shape.images.patches, &tower.embedding.patches.tensor);
    let own = if Form::of(vision).keeps_pixels { None } else { pixels(tape, shape, vision) };
    if !weight.requires_grad() {
        return tape.new_tensor(patches * vision.hidden, tape.autocast.unwrap_or(shape.dtype));
    }
    // The batch's own where they are not cast, or the caller's.
    let pixels = own.unwrap_or_else(|| Tensor::of(&tape.elsewhere(), patches * vision.patch_width(), shape.dtype));
    let bias = tower.embedding.bias.as_ref().map(|bias| &bias.tensor);
    tape.linear(&pixels, weight, bias, patches)
}

fn first_norm(tape: &mut Tape<'_>, form: Form, tower: &Tower, x: Tensor, rows: u64) -> Tensor {
    match &tower.before {
        Some(norm) => norm::of_kind(tape, form.norm, &x, norm, rows),
        None => x,
    }
}

/// `torch.cat([class_embeds, patch_embeds], dim=1)`, of the wider type.
fn with_class(tape: &mut Tape<'_>, shape: &Shape, vision: &Vision, x: &Tensor, class: Option<&Parameter>) -> Tensor {
    let Some(class) = class else { return x.clone() };
    let dtype = wider(x, &class.tensor);
    let out = tape.new_tensor(rows(shape, vision) * vision.hidden, dtype);
    let (patches, own, width) = (x.elements, x.dtype, vision.hidden);
    tape.custom(out, &[x, &class.tensor], &[], move |tape, _, gradients| {
        let of_patches =
            gradients[0].as_ref().map(|g| if own == dtype { g.view(patches) } else { tape.new_tensor(patches, own) });
        vec![of_patches, Some(tape.new_tensor(width, dtype))]
    })
}

/// `x + position_embedding(position_ids)`, of the wider type: the same positions for every image.
fn placed(tape: &mut Tape<'_>, shape: &Shape, x: &Tensor, positions: Option<&Parameter>) -> Tensor {
    let Some(positions) = positions else { return x.clone() };
    let of_one = x.elements / shape.images.count.max(1);
    let looked_up = look_up(tape, &positions.tensor, of_one);
    let dtype = wider(x, &looked_up);
    let sum = tape.new_tensor(x.elements, dtype).rows_first(x.rows_first);
    let (whole, own, asked) = (x.elements, x.dtype, looked_up.requires_grad());
    tape.custom(sum, &[x, &looked_up], &[], move |tape, _, gradients| {
        let Some(gradient) = &gradients[0] else { return vec![None, None] };
        let of_x = if own == dtype { gradient.clone() } else { tape.new_tensor(whole, own) };
        let of_positions =
            asked.then(|| if of_one == whole { gradient.clone() } else { tape.new_tensor(of_one, dtype) });
        vec![Some(of_x), of_positions]
    })
}

/// Rows of a learned table. Backward makes the whole table's gradient.
fn look_up(tape: &mut Tape<'_>, table: &Tensor, elements: u64) -> Tensor {
    let y = tape.new_tensor(elements, table.dtype);
    let (whole, dtype) = (table.elements, table.dtype);
    tape.custom(y, &[table], &[], move |tape, _, _| vec![Some(tape.new_tensor(whole, dtype))])
}

/// Four of the learned positions around each patch, weighed in float32 and summed (`modeling_qwen3_vl.py:716`).
fn interpolated(tape: &mut Tape<'_>, table: &Tensor, elements: u64) -> Tensor {
    let corners = look_up(tape, table, 4 * elements);
    let (all, own) = (corners.elements, corners.dtype);
    let weighed = tape.new_tensor(all, Dtype::F32);
    let weighed = tape.custom(weighed, &[&corners], &[], move |tape, _, _| {
        let wide = tape.new_tensor(all, Dtype::F32);
        vec![Some(if own == Dtype::F32 { wide } else { tape.new_tensor(all, own) })]
    });
    let sum = tape.new_tensor(elements, Dtype::F32);
    // The sum's gradient is only seen four times.
    tape.custom(sum, &[&weighed], &[], move |_, _, gradients| {
        vec![gradients[0].as_ref().map(|gradient| gradient.view(all))]
    })
}

fn wider(a: &Tensor, b: &Tensor) -> Dtype {
    if b.dtype == Dtype::F32 { b.dtype } else { a.dtype }
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
