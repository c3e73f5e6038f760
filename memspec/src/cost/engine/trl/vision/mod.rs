//! Vision towers, and what puts their images' tokens among the language model's embeddings.
//!
//! A tower's patch embedding is hooked for input gradients, so with checkpointing even a frozen one saves activations and runs backward. Layer norms
//! run in float32 under autocast and give float32; a packed linear returns its input's type, so the residual stream of a quantized tower is float32.

mod block;
mod embed;
mod form;
mod projector;
mod weights;

use std::ops::Range;

use super::super::super::Block;
use super::super::super::torch::{Tape, Tensor};
use super::parallel::Wrapper;
use super::{INPUTS, Shape};
use crate::model::{Dtype, Vision, VisionKind};
use block::Call;
use form::Form;

pub(super) use weights::{Tower, load};

/// What the language model gets.
pub(super) struct Seen {
    /// The embeddings with the images' tokens in their places.
    pub(super) embeddings: Tensor,
    /// What Qwen3-VL adds after its first blocks.
    deep: Vec<Tensor>,
    /// The images' tokens, a local of the model's forward.
    _tokens: Tensor,
}

/// Runs the tower on the images of a micro batch.
pub(super) fn see<'a>(
    tape: &mut Tape<'a>,
    shape: &'a Shape,
    (tower, wrapper): (&'a Tower, &'a Wrapper),
    vision: &'a Vision,
    embeddings: &Tensor,
) -> Seen {
    let form = Form::of(vision);
    let pixels = if form.keeps_pixels { embed::pixels(tape, shape, vision) } else { None };
    let mut x = embed::forward(tape, shape, tower, vision);
    let shared = embed::shared(tape, shape, vision, x.dtype);
    let mut states = States::new(tape, form, &x);
    let mut deep = Vec::new();
    for (index, decoder) in tower.blocks.iter().enumerate() {
        tape.at(Some(decoder.block));
        x = wrapper.before_tower_block(tape, index, x);
        let call = call(shape, vision, index as u64);
        x = if shape.checkpointing {
            let (input, shared) = (x.clone(), shared.clone());
            input.storage.relabel(INPUTS);
            tape.checkpoint(Box::new(move |tape| block::forward(tape, shape, vision, decoder, &input, &shared, &call)))
        } else {
            block::forward(tape, shape, vision, decoder, &x, &shared, &call)
        };
        x = wrapper.after_tower_block(tape, index, x);
        states.push(tape, &x);
        if let Some(merger) = deep_merger(tower, vision, index as u64) {
            deep.push(projector::deep(tape, shape, vision, merger, &x));
        }
    }
    tape.at(None);
    let last = x;
    let read = if vision.kind == VisionKind::Llava { states.before_last().unwrap_or(&last) } else { &last };
    let y = projector::forward(tape, shape, tower, vision, read);
    drop((pixels, shared));
    states.release(tape, vision);
    drop(last);
    let y = if vision.kind == VisionKind::Gemma3 { y } else { tape.concatenate(&[&y], y.elements) };
    let tokens = tape.cast(&y, embeddings.dtype);
    drop(y);
    Seen { embeddings: scatter(tape, shape, embeddings, &tokens), deep, _tokens: tokens }
}

/// What the attention of the block at `index` sees at once.
fn call(shape: &Shape, vision: &Vision, index: u64) -> Call {
    let images = shape.images.count;
    let of_one =
        if vision.sees_all(index) { vec![shape.images.patches / images.max(1)] } else { shape.images.windows.clone() };
    let pieces = (0..images).flat_map(|_| of_one.iter().copied()).collect();
    Call { rows: embed::rows(shape, vision), images, pieces }
}

/// The merger that reads the output of the block at `index`.
fn deep_merger<'t>(tower: &'t Tower, vision: &Vision, index: u64) -> Option<&'t weights::Merger> {
    tower.deep.get(vision.deepstack().iter().position(|&deep| deep == index)?)
}

/// The blocks' outputs, where all are asked for, with what the graph had before the last block.
struct States {
    kept: Vec<(Option<Block>, Tensor)>,
    nodes: Range<usize>,
    keeps: bool,
}

impl States {
    fn new(tape: &Tape<'_>, form: Form, first: &Tensor) -> Self {
        let kept = if form.keeps_states { vec![(None, first.clone())] } else { Vec::new() };
        Self { kept, nodes: tape.nodes()..tape.nodes(), keeps: form.keeps_states }
    }

    fn push(&mut self, tape: &Tape<'_>, output: &Tensor) {
        self.nodes = self.nodes.end..tape.nodes();
        if self.keeps {
            self.kept.push((tape.block(), output.clone()));
        }
    }

    /// The output of the block before the last.
    fn before_last(&self) -> Option<&Tensor> {
        self.kept.len().checked_sub(2).and_then(|at| self.kept.get(at)).map(|state| &state.1)
    }

    /// The tower's output object goes, and with it the graph of a last block that nobody read.
    fn release(self, tape: &mut Tape<'_>, vision: &Vision) {
        if vision.kind == VisionKind::Llava {
            tape.forget(self.nodes);
        }
        for (block, state) in self.kept {
            tape.at(block);
            drop(state);
        }
        tape.at(None);
    }
}

/// `inputs_embeds.masked_scatter(mask, features)` (`aten/src/ATen/native/cuda/IndexKernel.cpp`): the mask written out, and where each of its places is among
/// those that are set.
fn scatter(tape: &mut Tape<'_>, shape: &Shape, embeddings: &Tensor, features: &Tensor) -> Tensor {
    let dtype = embeddings.dtype;
    let mask = tape.new_tensor(shape.rows, Dtype::Bool);
    let out = tape.new_tensor(embeddings.elements, dtype);
    let prefix = tape.new_tensor(embeddings.elements, Dtype::I64);
    let whole = tape.new_tensor(embeddings.elements, Dtype::Bool);
    drop((prefix, whole));
    let (text, image) = (embeddings.elements, features.elements);
    tape.custom(out, &[embeddings, features], &[&mask], move |tape, _, _| {
        vec![Some(tape.new_tensor(text, dtype)), Some(tape.new_tensor(image, dtype))]
    })
}

impl Seen {
    /// The hidden states after the decoder's block at `index`, with the images' features of that depth added (`modeling_qwen3_vl.py`, `_deepstack_process`).
    pub(super) fn deepen(&self, tape: &mut Tape<'_>, shape: &Shape, x: Tensor, index: usize) -> Tensor {
        let Some(features) = self.deep.get(index) else { return x };
        let features = tape.cast(features, x.dtype);
        let copied = tape.copy(&x);
        drop(x);
        let picked = tape.gather(&copied, features.elements, features.elements / shape.model.hidden.max(1));
        let sum = tape.add(&picked, &features);
        drop(picked);
        let over = copied.view(copied.elements);
        let (whole, part, dtype) = (copied.elements, sum.elements, copied.dtype);
        tape.custom(over, &[&copied, &sum], &[], move |tape, _, _| {
            // `index_put_`: the gradient with zeros in those places, and what was there.
            vec![Some(tape.new_tensor(whole, dtype)), Some(tape.new_tensor(part, dtype))]
        })
    }
}
