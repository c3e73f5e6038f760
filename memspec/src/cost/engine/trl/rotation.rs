//! Rotary positions: `apply_rotary_pos_emb` of each family.

use super::super::super::torch::{Tape, Tensor};
use super::form::{Form, Rotation};
use crate::model::Dtype;

/// Rotated queries and keys, and the slices that the attention's locals keep.
pub(super) struct Rotated {
    pub(super) queries: Tensor,
    pub(super) keys: Tensor,
    pub(super) kept: Vec<Tensor>,
}

/// Queries and keys of heads of `width` columns, rotated by cosines and sines.
pub(super) fn apply(
    tape: &mut Tape<'_>,
    form: Form,
    width: u64,
    [q, k]: [&Tensor; 2],
    tables: &[Tensor; 2],
) -> Rotated {
    let dtype = q.dtype;
    let mut kept = Vec::new();
    let [queries, keys] = match form.rotation {
        Rotation::Whole => [q, k].map(|x| turn(tape, x, tables)),
        Rotation::Part | Rotation::PartKept | Rotation::PartInterleaved => {
            let interleaved;
            let tables = if form.rotation == Rotation::PartInterleaved {
                interleaved = interleave(tape, tables);
                &interleaved
            } else {
                tables
            };
            [q, k].map(|x| {
                let rotated = x.elements / width * form.rotated;
                let (first, rest) = (tape.slice(x, rotated), tape.slice(x, x.elements - rotated));
                let turned = turn(tape, &first, tables);
                drop(first);
                let joined = tape.concatenate(&[&turned, &rest], x.elements);
                if form.rotation == Rotation::PartKept {
                    kept.extend([turned, rest]);
                }
                joined
            })
        }
        Rotation::Wide => in_f32(tape, [q, k], tables),
        Rotation::WideTables => {
            let turned = [q, k].map(|x| turn(tape, x, tables));
            turned.each_ref().map(|x| tape.cast(x, dtype))
        }
        Rotation::WidePieces => {
            let tables = interleave(tape, tables);
            let turned = [q, k].map(|x| turn_pieces(tape, x, &tables));
            turned.each_ref().map(|x| tape.cast(x, dtype))
        }
    };
    Rotated { queries, keys, kept }
}

/// Cast to float32, rotated, cast back.
pub(super) fn in_f32(tape: &mut Tape<'_>, [q, k]: [&Tensor; 2], tables: &[Tensor; 2]) -> [Tensor; 2] {
    let wide = [q, k].map(|x| tape.cast(x, Dtype::F32));
    let turned = wide.each_ref().map(|x| turn(tape, x, tables));
    turned.each_ref().map(|x| tape.cast(x, q.dtype))
}

/// `x * cos + rotate_half(x) * sin` (`modeling_llama.py:138`).
pub(super) fn turn(tape: &mut Tape<'_>, x: &Tensor, [cos, sin]: &[Tensor; 2]) -> Tensor {
    let near = tape.multiply(x, cos);
    let turned = rotate_half(tape, x);
    let far = tape.multiply(&turned, sin);
    drop(turned);
    tape.add(&near, &far)
}

/// `x.float() * cos + rotate_half(x).float() * sin` (`modeling_ernie4_5.py:186`).
fn turn_pieces(tape: &mut Tape<'_>, x: &Tensor, [cos, sin]: &[Tensor; 2]) -> Tensor {
    let near = {
        let wide = tape.cast(x, Dtype::F32);
        tape.multiply(&wide, cos)
    };
    let turned = rotate_half(tape, x);
    let wide = tape.cast(&turned, Dtype::F32);
    drop(turned);
    let far = tape.multiply(&wide, sin);
    drop(wide);
    tape.add(&near, &far)
}

/// Halves, or every other column, swapped and one of them negated.
fn rotate_half(tape: &mut Tape<'_>, x: &Tensor) -> Tensor {
    let half = x.elements / 2;
    let (first, second) = (tape.slice(x, half), tape.slice(x, half));
    let minus = tape.scale(&second);
    tape.concatenate(&[&minus, &first], x.elements)
}

/// `cos[..., : half].repeat_interleave(2, dim=-1)`, and the sines'.
fn interleave(tape: &mut Tape<'_>, tables: &[Tensor; 2]) -> [Tensor; 2] {
    tables.each_ref().map(|table| tape.new_tensor(table.elements, table.dtype))
}
