//! What makes tokens of a tower's output.

use super::super::super::super::torch::{Saves, Tape, Tensor};
use super::super::form::NormKind;
use super::super::weights::{Linear, Weight};
use super::super::{Shape, linear, norm};
use super::form::Form;
use super::weights::{Merger, Tower};
use crate::model::{Vision, VisionKind};

/// The images' tokens, of the language model's width.
pub(super) fn forward(tape: &mut Tape<'_>, shape: &Shape, tower: &Tower, vision: &Vision, x: &Tensor) -> Tensor {
    let patches = shape.images.patches;
    let tokens = patches / (vision.merge * vision.merge).max(1);
    let merger = &tower.merger;
    match vision.kind {
        VisionKind::Qwen2Vl | VisionKind::Qwen3Vl { .. } => {
            let normed = normalized(tape, vision, x, merger, patches);
            linears(tape, &merger.linears, normed, tokens)
        }
        VisionKind::Qwen25Vl { .. } => {
            let normed = normalized(tape, vision, x, merger, patches);
            let y = linears(tape, &merger.linears, normed, tokens);
            // Back into the order of the images.
            tape.gather(&y, y.elements, tokens)
        }
        VisionKind::Gemma3 => pooled(tape, vision, tower, x, patches, tokens),
        VisionKind::Llava => {
            // Without the class tokens.
            let seen = tape.slice(x, patches * vision.hidden);
            linears(tape, &merger.linears, seen, tokens)
        }
        VisionKind::Pixtral { merger: merges, .. } => {
            let mut y = normalized(tape, vision, x, merger, patches);
            if merges {
                // `unfold` of each image, and all of them in rows (`modeling_mistral3.py:87`).
                let unfolded = tape.reshape_into(&y, y.elements, Saves::Nothing, 0);
                y = tape.concatenate(&[&unfolded], y.elements);
            }
            linears(tape, &merger.linears, y, tokens)
        }
    }
}

/// A merger of Qwen3-VL's for one of its depths.
pub(super) fn deep(tape: &mut Tape<'_>, shape: &Shape, vision: &Vision, merger: &Merger, x: &Tensor) -> Tensor {
    let tokens = shape.images.patches / (vision.merge * vision.merge).max(1);
    let normed = normalized(tape, vision, x, merger, tokens);
    linears(tape, &merger.linears, normed, tokens)
}

fn normalized(tape: &mut Tape<'_>, vision: &Vision, x: &Tensor, merger: &Merger, rows: u64) -> Tensor {
    match &merger.norm {
        Some(norm) => norm::of_kind(tape, Form::of(vision).norm, x, norm, rows),
        None => x.clone(),
    }
}

/// Linears with a GELU before the last one.
fn linears(tape: &mut Tape<'_>, linears: &[Linear], x: Tensor, rows: u64) -> Tensor {
    let [first @ .., last] = linears else { return x };
    let mut y = x;
    for linear in first {
        y = linear::forward(tape, linear, &y, rows);
    }
    let active = tape.elementwise(&y, Saves::Input);
    drop(y);
    linear::forward(tape, last, &active, rows)
}

/// The tower's last norm, patches pooled in squares, a norm, and a bare matrix (`modeling_gemma3.py:679`).
fn pooled(tape: &mut Tape<'_>, vision: &Vision, tower: &Tower, x: &Tensor, patches: u64, tokens: u64) -> Tensor {
    let last = match &tower.after {
        Some(norm) => norm::of_kind(tape, Form::of(vision).norm, x, norm, patches),
        None => x.clone(),
    };
    // Channels first.
    let grid = tape.reshape_into(&last, last.elements, Saves::Nothing, 0);
    let pooled = tape.reshape_into(&grid, tokens * vision.hidden, Saves::Input, 0);
    drop(grid);
    let normed = match &tower.merger.norm {
        Some(norm) => norm::of_kind(tape, NormKind::RmsOnePlus, &pooled, norm, tokens),
        None => pooled.clone(),
    };
    let Some(Linear { weight: Weight::Dense(weight), .. }) = tower.merger.linears.first() else { return normed };
    let projected = tape.linear(&normed, &weight.tensor, None, tokens);
    tape.cast(&projected, last.dtype)
}
