//! Qwen2-VL's vision tower (`transformers/models/qwen2_vl/modeling_qwen2_vl.py`).
//!
//! Its patch embedding is hooked for input gradients, so with checkpointing even a frozen tower saves activations and runs backward. Layer norms run in
//! float32 under autocast and give float32; a packed linear returns its input's type, so the residual stream of a quantized tower is float32.

use super::super::super::torch::{AttentionShape, Saves, Tape, Tensor};
use super::super::super::{Block, Stack};
use super::parallel::Wrapper;
use super::weights::{Linear, Parameter};
use super::{ACTIVATION_GRADIENTS, INPUTS, Shape, linear, rotation};
use crate::model::{Dtype, Vision};

/// A block of the tower.
#[derive(Clone, Debug)]
pub(crate) struct TowerBlock {
    pub(crate) block: Block,
    /// Query, key and value in one; projection; the MLP's two.
    pub(crate) linears: Vec<Linear>,
    pub(crate) norms: Vec<Parameter>,
}

/// The tower and the merger behind it.
#[derive(Clone, Debug)]
pub(crate) struct Tower {
    pub(crate) blocks: Vec<TowerBlock>,
    pub(crate) merger: Vec<Linear>,
    /// Patch embedding and the last norm.
    pub(crate) rest: Vec<Parameter>,
}

impl Tower {
    /// Every parameter that is not packed.
    pub(super) fn for_each_parameter(&mut self, f: &mut impl FnMut(&mut Parameter)) {
        for block in &mut self.blocks {
            block.norms.iter_mut().for_each(&mut *f);
            block.linears.iter_mut().for_each(|linear| linear.for_each_parameter(f));
        }
        self.merger.iter_mut().for_each(|linear| linear.for_each_parameter(f));
        self.rest.iter_mut().for_each(f);
    }

    /// Every tensor of the state dict of a tower of `layers` blocks.
    pub(super) fn for_each_tensor(&self, layers: u64, f: &mut impl FnMut(&Tensor)) {
        let middle = self.blocks.len() / 2;
        for (index, block) in self.blocks.iter().enumerate() {
            let missing = layers.saturating_sub(self.blocks.len() as u64);
            for _ in 0..if index == middle { 1 + missing } else { 1 } {
                block.norms.iter().for_each(|norm| f(&norm.tensor));
                block.linears.iter().for_each(|linear| linear.for_each_tensor(f));
            }
        }
        self.merger.iter().for_each(|linear| linear.for_each_tensor(f));
        self.rest.iter().for_each(|rest| f(&rest.tensor));
    }
}

impl TowerBlock {
    pub(crate) fn place(index: u16) -> Block {
        Block { stack: Stack::Vision, index }
    }
}

/// The embeddings with the images' tokens in their places.
pub(super) fn see<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    (tower, wrapper): (&'a Tower, &'a Wrapper),
    vision: &'a Vision,
    embeddings: &Tensor,
) -> Tensor {
    let patches = shape.patches;
    let mut x = tape.new_tensor(patches * vision.hidden, Dtype::Bf16);
    if shape.checkpointing {
        tape.leaf(&mut x, ACTIVATION_GRADIENTS, true);
    }
    let width = vision.hidden / vision.heads.max(1);
    let mut table = || tape.new_tensor(patches * width, Dtype::F32);
    let tables = [table(), table()];
    for (index, decoder) in tower.blocks.iter().enumerate() {
        tape.at(Some(decoder.block));
        x = wrapper.before_tower_block(tape, index, x);
        x = if shape.checkpointing {
            let (input, tables) = (x.clone(), tables.clone());
            input.storage.relabel(INPUTS);
            tape.checkpoint(Box::new(move |tape| block(tape, shape, vision, decoder, &input, &tables)))
        } else {
            block(tape, shape, vision, decoder, &x, &tables)
        };
        x = wrapper.after_tower_block(tape, index, x);
    }
    tape.at(None);
    // The tower's output object keeps its last state.
    tape.retain(&x);
    let mut y = layer_norm(tape, &x, patches);
    let tokens = patches / (vision.merge * vision.merge).max(1);
    let mut merger = tower.merger.iter();
    if let Some(first) = merger.next() {
        y = linear::forward(tape, first, &y, tokens);
        y = tape.elementwise(&y, Saves::Input);
    }
    if let Some(second) = merger.next() {
        y = linear::forward(tape, second, &y, tokens);
    }
    let y = tape.cast(&y, Dtype::Bf16);
    let out = tape.new_tensor(embeddings.elements, Dtype::Bf16);
    let _prefix = tape.new_tensor(embeddings.elements, Dtype::I64);
    let mask = tape.new_tensor(embeddings.elements, Dtype::Bool);
    let (text, image) = (embeddings.elements, y.elements);
    // `masked_scatter`.
    tape.custom(out, &[embeddings, &y], &[&mask], move |tape, _, _| {
        vec![Some(tape.new_tensor(text, Dtype::Bf16)), Some(tape.new_tensor(image, Dtype::Bf16))]
    })
}

fn block(
    tape: &mut Tape<'_>,
    shape: &Shape,
    vision: &Vision,
    tower: &TowerBlock,
    x: &Tensor,
    tables: &[Tensor; 2],
) -> Tensor {
    let [qkv, projection, up, down] = tower.linears.as_slice() else { return x.clone() };
    let rows = shape.patches;
    let normed = layer_norm(tape, x, rows);
    let attended = attend(tape, shape, vision, [qkv, projection], &normed, tables);
    drop(normed);
    let x = tape.add(x, &attended);
    drop(attended);
    let normed = layer_norm(tape, &x, rows);
    let mut y = linear::forward(tape, up, &normed, rows);
    drop(normed);
    // `quick_gelu`: x * sigmoid(1.702 x).
    let scaled = tape.scale(&y);
    let sigmoid = tape.elementwise(&scaled, Saves::Output);
    drop(scaled);
    y = tape.multiply(&y, &sigmoid);
    drop(sigmoid);
    y = linear::forward(tape, down, &y, rows);
    tape.add(&x, &y)
}

fn attend(
    tape: &mut Tape<'_>,
    shape: &Shape,
    vision: &Vision,
    [qkv, projection]: [&Linear; 2],
    x: &Tensor,
    tables: &[Tensor; 2],
) -> Tensor {
    let rows = shape.patches;
    let all = linear::forward(tape, qkv, x, rows);
    let dtype = all.dtype;
    let mut parts = tape.unbind(&all, 3, true);
    drop(all);
    for part in parts.iter_mut().take(2) {
        // `apply_rotary_pos_emb_vision` computes in float32.
        let wide = tape.cast(part, Dtype::F32);
        let rotated = rotation::turn(tape, &wide, tables);
        *part = tape.cast(&rotated, dtype);
    }
    let attention = AttentionShape {
        batch: 1,
        tokens: rows,
        heads: vision.heads,
        kv_heads: vision.heads,
        head_dim: vision.hidden / vision.heads.max(1),
        softcap: false,
        kernel: shape.attention.kernel,
    };
    let [q, k, v] = [&parts[0], &parts[1], &parts[2]];
    // Image by image, then joined.
    let out = tape.fused_attention([q, k, v], attention, None);
    let joined = tape.concatenate(&[&out], rows * vision.hidden);
    drop(out);
    linear::forward(tape, projection, &joined, rows)
}

/// `nn.LayerNorm` under autocast: float32, whose cast input, mean and 1/deviation are saved.
fn layer_norm(tape: &mut Tape<'_>, x: &Tensor, rows: u64) -> Tensor {
    let x = tape.cast(x, Dtype::F32);
    let y = tape.new_tensor(x.elements, Dtype::F32);
    let statistics = [tape.new_tensor(rows, Dtype::F32), tape.new_tensor(rows, Dtype::F32)];
    let elements = x.elements;
    tape.custom(y, &[&x], &[&x, &statistics[0], &statistics[1]], move |tape, _, _| {
        vec![Some(tape.new_tensor(elements, Dtype::F32))]
    })
}
