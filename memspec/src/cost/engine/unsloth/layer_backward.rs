//! The generated backward of a compiled layer of Llama's kind (`unsloth/kernels/fast_lora.py`, the `backward` of `LoRA_MLP`, `LoRA_W` and `LoRA_QKV`).
//!
//! Tracing makes the source's in-place tricks out of place: the gradients of gate and up and the product that `down_proj` read are three new
//! tensors beside gate, up and the incoming one.

use super::super::super::torch::{Tape, Tensor};
use super::super::trl::weights::DecoderBlock;
use super::super::trl::{ACTIVATION_GRADIENTS, DENSE};
use super::layer::Saved;
use super::sizes::Kernel;
use super::{ADAPTER_COPIES, Sizes, compile};
use crate::model::Dtype;

/// Runs it; returns the gradient of the layer's input. `first`: its kernels are timed on the way.
pub(super) fn run(tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, mut saved: Saved, first: bool) -> Tensor {
    let mut gradients = Gradients::default();
    let input = mlp(tape, sizes, block, &mut saved, first, &mut gradients);
    attention(tape, sizes, block, &mut saved, first, &mut gradients);
    gradients.accumulate(tape);
    input
}

fn mlp(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    saved: &mut Saved,
    first: bool,
    gradients: &mut Gradients,
) -> Tensor {
    let (dtype, part) = (sizes.dtype, ACTIVATION_GRADIENTS);
    let adapted = sizes.adapted("gate_proj") || sizes.adapted("up_proj") || sizes.adapted("down_proj");
    let unpacked = sizes.unpacked(block, "down_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    let incoming = tape.new_as(part, sizes.inner, dtype);
    if !adapted {
        // Frozen linears: one of the two gradients takes the place of gate's or up's values, and one unpacked weight's buffer serves all three.
        let gate_gradient = tape.new_as(part, sizes.inner, dtype);
        compile::time_a_kernel(tape, sizes, first);
        drop(incoming);
        saved.gate = None;
        let up_part = tape.new_as(part, sizes.hidden, dtype);
        drop(gate_gradient);
        let input = tape.new_as(part, sizes.hidden, dtype);
        drop(unpacked);
        saved.up = None;
        drop(up_part);
        let result = tape.new_as(part, sizes.hidden, dtype);
        saved.norms.pop();
        drop(input);
        return result;
    }
    drop(unpacked);
    let low = super::layer::lower(tape, sizes, block, "down_proj", part);
    compile::time_a_kernel(tape, sizes, first);
    let [gate_gradient, up_gradient, product] = [(); 3].map(|()| tape.new_as(part, sizes.inner, dtype));
    compile::time_a_kernel(tape, sizes, first);
    drop(incoming);
    saved.gate = None;
    saved.up = None;
    gradients.copies(tape, sizes, block, &["down_proj", "up_proj", "gate_proj"]);
    drop((product, low));
    saved.normed_2 = None;
    let unpacked = sizes.unpacked(block, "up_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    let input = tape.new_as(part, sizes.hidden, dtype);
    drop((gate_gradient, unpacked, up_gradient));
    gradients.make(tape, sizes, block, &["gate_proj", "up_proj", "down_proj"]);
    compile::time_a_kernel(tape, sizes, first);
    let normed = tape.new_as(part, sizes.hidden, dtype);
    saved.norms.pop();
    // The product of both is written where the norm's gradient was; the other buffer is the layer's last sum.
    drop(normed);
    input
}

fn attention(
    tape: &mut Tape<'_>,
    sizes: &Sizes,
    block: &DecoderBlock,
    saved: &mut Saved,
    first: bool,
    gradients: &mut Gradients,
) {
    let (dtype, part) = (sizes.dtype, ACTIVATION_GRADIENTS);
    let norm_gradient = tape.new_as(part, sizes.hidden, dtype);
    saved.residual = None;
    saved.attended = None;
    let unpacked = sizes.unpacked(block, "o_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    gradients.copies(tape, sizes, block, &["o_proj"]);
    gradients.make(tape, sizes, block, &["o_proj"]);
    let (rotated, rotated_keys) = attend(tape, sizes, saved);
    saved.head_norms.clear();
    gradients.copies(tape, sizes, block, &["q_proj", "k_proj", "v_proj"]);
    compile::time_a_kernel(tape, sizes, first);
    if sizes.separate_qkv {
        // Each product's gradient, and each adapter's, are tensors of their own until they are added.
        let parts: Vec<Tensor> = (0..5).map(|_| tape.new_as(part, sizes.hidden, dtype)).collect();
        drop(parts);
    }
    saved.normed = None;
    drop(unpacked);
    let unpacked_key = sizes.unpacked(block, "k_proj").map(|elements| tape.new_as(DENSE, elements, dtype));
    drop((unpacked_key, rotated_keys));
    gradients.make(tape, sizes, block, &["q_proj", "k_proj", "v_proj"]);
    saved.adapters.clear();
    drop(rotated);
    saved.norms.clear();
    drop(norm_gradient);
}

/// Attention and the rotation back: the gradient of the queries before it, and those of keys and values.
fn attend(tape: &mut Tape<'_>, sizes: &Sizes, saved: &mut Saved) -> (Tensor, [Tensor; 2]) {
    let part = ACTIVATION_GRADIENTS;
    let new = |tape: &mut Tape<'_>, elements| tape.new_as(part, elements, sizes.dtype);
    let (queries, keys) = match sizes.kernel {
        Kernel::Cudnn | Kernel::Flash => (sizes.query_padded, sizes.key_padded),
        Kernel::Efficient => (sizes.query, sizes.query),
    };
    let output = new(tape, queries);
    let of_queries = new(tape, queries);
    let [of_keys, of_values] = [(); 2].map(|()| new(tape, keys));
    drop(tape.new_as(part, sizes.attention_workspace, Dtype::U8));
    match sizes.kernel {
        Kernel::Cudnn => {
            drop(output);
            saved.attention.clear();
            let turned_keys = [(); 2].map(|()| new(tape, sizes.key));
            let turned = new(tape, sizes.query);
            drop((of_queries, of_keys, of_values));
            (turned, turned_keys)
        }
        Kernel::Flash => {
            saved.attention.clear();
            let turned_keys = new(tape, sizes.key);
            drop((of_keys, of_queries));
            // Written where the output's gradient was.
            (output, [turned_keys, of_values])
        }
        Kernel::Efficient => {
            drop(output);
            saved.attention.clear();
            // Sums over the query heads of a key head; the queries' are written over the keys', the values' over the keys' sum.
            let turned_keys = [(); 2].map(|()| new(tape, sizes.key));
            drop((of_queries, of_values));
            (of_keys, turned_keys)
        }
    }
}

/// Gradients of the layer's adapters on their way to the parameters.
#[derive(Debug, Default)]
struct Gradients {
    copies: Vec<Tensor>,
    made: Vec<(super::super::super::torch::Leaf, Tensor)>,
}

impl Gradients {
    /// 16 bit gradients, as the products make them.
    fn copies(&mut self, tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, names: &[&str]) {
        for name in names.iter().filter(|name| sizes.adapted(name)) {
            if let Some(linear) = sizes.linear(block, name) {
                for width in [linear.in_features, linear.out_features] {
                    self.copies.push(tape.new_as(ADAPTER_COPIES, sizes.shape.rank * width, sizes.dtype));
                }
            }
        }
    }

    /// Their float32 copies; the 16 bit ones of the same linears go.
    fn make(&mut self, tape: &mut Tape<'_>, sizes: &Sizes, block: &DecoderBlock, names: &[&str]) {
        for name in names.iter().filter(|name| sizes.adapted(name)) {
            let Some(adapter) = sizes.linear(block, name).and_then(|linear| linear.adapter.as_ref()) else { continue };
            for matrix in adapter {
                let Some(leaf) = matrix.tensor.leaf() else { continue };
                self.made.push((leaf, tape.new_as(ADAPTER_COPIES, matrix.tensor.elements, Dtype::F32)));
            }
        }
        self.copies.clear();
    }

    /// A parameter without a gradient takes a copy in its own layout, which the product's transposed result does not have
    /// (`torch/csrc/autograd/functions/accumulate_grad.h`); one that has a gradient is added to in place.
    fn accumulate(self, tape: &mut Tape<'_>) {
        for (leaf, gradient) in self.made {
            super::run::accumulate(tape, leaf, &gradient);
        }
    }
}
