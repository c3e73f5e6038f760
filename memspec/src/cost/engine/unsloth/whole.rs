//! All weights trained: transformers' decoder layer of Llama's kind (`transformers/models/llama/modeling_llama.py`) as one compiled region, under
//! autocast, since Unsloth keeps the norms' weights in float32 (`unsloth_zoo/training_utils.py:430`). What the generated functions allocate, in order.

use super::super::super::Part;
use super::super::super::torch::{Leaf, Tape, Tensor};
use super::super::trl::weights::{DecoderBlock, Linear, Norm, Parameter, Weight};
use super::super::trl::{ACTIVATION_GRADIENTS, GRADIENTS};
use super::{POOLS, Sizes};
use crate::model::Dtype;

/// What the backward of a layer needs.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// The first norm's output, for the weights of queries, keys and values.
    normed: Option<Tensor>,
    inverse: Vec<Tensor>,
    /// Rotated queries and keys, values, log-sums and two random words.
    attention: Vec<Tensor>,
    /// The attention's output, for the weight of its projection.
    attended: Option<Tensor>,
    /// The attention's projection: the residual is the input and this.
    projected: Option<Tensor>,
    /// The second norm's output, for the weights of gate and up.
    normed_2: Option<Tensor>,
    gate: Option<Tensor>,
    up: Option<Tensor>,
    product: Option<Tensor>,
}

/// The layer without gradients, as checkpoints run it: Inductor cuts its buffers from pools.
pub(super) fn planned(tape: &mut Tape<'_>, sizes: &Sizes) -> Tensor {
    let mut new = |elements| tape.new_as(POOLS, elements, sizes.dtype);
    // The norm's output for each of three products, then rotated queries, then gate.
    let first = new(sizes.inner.max(3 * sizes.hidden).max(sizes.query));
    let output = new(sizes.hidden.max(sizes.query));
    let second = new(sizes.inner.max(2 * sizes.key).max(sizes.hidden));
    drop(new(sizes.query));
    drop(new(sizes.hidden));
    drop((first, second));
    output
}

/// The layer with gradients.
pub(super) fn forward(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, part: Part) -> (Tensor, Saved) {
    let rows = sizes.shape.rows;
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(part, elements, sizes.dtype);
    let inverse = tape.new_as(part, rows, Dtype::F32);
    let normed = new(tape, sizes.hidden);
    let queries = new(tape, sizes.query);
    tape.product();
    if block.input.iter().any(|linear| linear.bias.is_some()) {
        tape.biased_product();
    }
    let keys = new(tape, sizes.key);
    let values = new(tape, sizes.key);
    let rotated = new(tape, sizes.query);
    let rotated_keys = new(tape, sizes.key);
    drop(keys);
    let words = [(); 2].map(|()| tape.new_as(part, 1, Dtype::I64));
    let attended = new(tape, sizes.query);
    let log_sums = tape.new_as(part, sizes.log_sums, Dtype::F32);
    let projected = reuse(tape, part, queries, sizes.hidden);
    let inverse_2 = tape.new_as(part, rows, Dtype::F32);
    let normed_2 = new(tape, sizes.hidden);
    let [gate, up, product] = [(); 3].map(|()| new(tape, sizes.inner));
    let output = new(tape, sizes.hidden);
    let mut attention = vec![rotated, rotated_keys, values, log_sums];
    attention.extend(words);
    let saved = Saved {
        normed: Some(normed),
        inverse: vec![inverse, inverse_2],
        attention,
        attended: Some(attended),
        projected: Some(projected),
        normed_2: Some(normed_2),
        gate: Some(gate),
        up: Some(up),
        product: Some(product),
    };
    (output, saved)
}

/// Its backward; returns the gradient of the layer's input.
pub(super) fn backward(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, mut saved: Saved) -> Tensor {
    let part = ACTIVATION_GRADIENTS;
    let mut made = Made::default();
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(part, elements, sizes.dtype);
    let [gate, up, down] = [0, 1, 2].map(|place| &block.mlp[place]);
    made.weight(tape, down);
    saved.product = None;
    let product = new(tape, sizes.inner);
    // One of the gradients of gate and up takes the place of up's values.
    let gate_gradient = new(tape, sizes.inner);
    drop(product);
    saved.gate = None;
    made.weight(tape, up);
    let from_up = new(tape, sizes.hidden);
    drop(gate_gradient);
    made.weight(tape, gate);
    saved.normed_2 = None;
    let from_gate = new(tape, sizes.hidden);
    saved.up = None;
    let residual = new(tape, sizes.hidden);
    let attended = new(tape, sizes.query);
    let [queries, keys, values] = [sizes.query, sizes.key, sizes.key].map(|elements| new(tape, elements));
    drop(tape.new_as(part, sizes.attention_workspace, Dtype::U8));
    saved.attention.clear();
    let from_values = reuse(tape, part, attended, sizes.hidden);
    let turned_keys = new(tape, sizes.key);
    drop(keys);
    let from_keys = new(tape, sizes.hidden);
    let turned = new(tape, sizes.query);
    let from_queries = reuse(tape, part, queries, sizes.hidden);
    // Sums over tokens for the norms' weights, 16 parts of them.
    let sums = [(); 2].map(|()| tape.new_as(part, 16 * sizes.shape.model.hidden, Dtype::F32));
    drop((from_up, from_gate));
    saved.projected = None;
    saved.inverse.pop();
    made.norm(tape, block.norms.before_mlp.as_ref());
    made.weight(tape, &block.output);
    saved.attended = None;
    made.weight(tape, &block.input[2]);
    drop(values);
    made.weight(tape, &block.input[1]);
    drop(turned_keys);
    made.weight(tape, &block.input[0]);
    drop(turned);
    saved.normed = None;
    made.norm(tape, block.norms.before_attention.as_ref());
    for linear in &block.input {
        if let Some(bias) = &linear.bias {
            made.parameter(tape, bias);
        }
    }
    drop((sums, from_values, from_keys, from_queries, saved));
    made.accumulate(tape);
    residual
}

/// The buffer, where it has the size that is needed next; else another, and it goes.
fn reuse(tape: &mut Tape<'_>, part: Part, buffer: Tensor, elements: u64) -> Tensor {
    if buffer.elements == elements { buffer } else { tape.new_as(part, elements, buffer.dtype) }
}

/// Gradients of weights; a region hands them out when it returns.
#[derive(Debug, Default)]
struct Made(Vec<(Leaf, Tensor)>);

impl Made {
    fn weight(&mut self, tape: &mut Tape<'_>, linear: &Linear) {
        if let Weight::Dense(weight) = &linear.weight {
            self.parameter(tape, weight);
        }
    }

    fn norm(&mut self, tape: &mut Tape<'_>, norm: Option<&Norm>) {
        if let Some(norm) = norm {
            self.parameter(tape, &norm.weight);
        }
    }

    fn parameter(&mut self, tape: &mut Tape<'_>, parameter: &Parameter) {
        if let Some(leaf) = parameter.tensor.leaf() {
            let gradient = tape.new_as(GRADIENTS, parameter.tensor.elements, parameter.tensor.dtype);
            self.0.push((leaf, gradient));
        }
    }

    /// A parameter's first gradient is taken over, a later one added in place.
    fn accumulate(self, tape: &mut Tape<'_>) {
        for (leaf, gradient) in self.0 {
            tape.give_gradient(leaf, gradient);
        }
    }
}
