//! Unsloth's linears with adapters, run eagerly (`unsloth/kernels/fast_lora.py`): `LoRA_QKV`, `LoRA_W` and `LoRA_MLP`. Their backward writes the
//! gradient of the input over the input, and gradients of gate and up over gate and up.

use std::cell::RefCell;

use super::super::super::torch::{Saves, Tape, Tensor};
use super::super::trl::weights::{DecoderBlock, Linear, Weight};
use super::super::trl::{DENSE, linear};
use super::{ADAPTER_COPIES, Sizes};
use crate::model::Dtype;

/// The buffer that 4 bit weights are unpacked to in eager code, kept and grown as larger ones come (`kernels/utils.py:649`, `_scratch`).
#[derive(Debug, Default)]
pub(super) struct Scratch(RefCell<Option<Tensor>>);

impl Scratch {
    fn unpack(&self, tape: &mut Tape<'_>, linear: &Linear, dtype: Dtype) {
        let Some(elements) = packed(linear) else { return };
        let mut buffer = self.0.borrow_mut();
        if buffer.as_ref().is_none_or(|buffer| buffer.elements < elements) {
            *buffer = Some(tape.new_as(DENSE, elements, dtype));
        }
    }
}

/// Elements of a weight that has to be unpacked.
fn packed(linear: &Linear) -> Option<u64> {
    match &linear.weight {
        Weight::Dense(_) => None,
        Weight::Nf4 { elements, .. } | Weight::Int8 { elements, .. } => Some(*elements),
    }
}

/// `apply_lora_qkv`: queries, keys and values.
pub(super) fn projections<'a>(
    tape: &mut Tape<'a>,
    sizes: &'a Sizes,
    block: &'a DecoderBlock,
    scratch: &'a Scratch,
    x: &Tensor,
) -> [Tensor; 3] {
    let names = [0, 1, 2].map(|place| &block.input[place]);
    if sizes.separate_qkv {
        // A bias, or a linear without adapter: PEFT's own forward.
        return names.map(|projection| linear::forward(tape, projection, x, sizes.shape.rows));
    }
    let made = names.map(|projection| product(tape, sizes, projection, scratch));
    let made = tape.custom_many(made.into(), &inputs(x, &names), &[x], move |tape, saved, _| {
        let mut gradients = Gradients::new(tape, sizes, &names);
        let low = names.map(|_| tape.new_tensor(sizes.low(), sizes.dtype));
        tape.product();
        for projection in names {
            drop(dense(tape, projection, sizes.dtype));
        }
        drop(low);
        gradients.finish(tape, Tensor::of(&saved[0], sizes.hidden, sizes.dtype))
    });
    let mut made = made.into_iter();
    [0; 3].map(|_| made.next().unwrap_or_else(|| x.clone()))
}

/// `apply_lora_o`.
pub(super) fn output<'a>(
    tape: &mut Tape<'a>,
    sizes: &'a Sizes,
    block: &'a DecoderBlock,
    scratch: &'a Scratch,
    x: &Tensor,
) -> Tensor {
    let projection = &block.output;
    if projection.adapter.is_none() {
        return linear::forward(tape, projection, x, sizes.shape.rows);
    }
    let y = product(tape, sizes, projection, scratch);
    tape.custom(y, &inputs(x, &[projection]), &[x], move |tape, _, _| {
        let mut gradients = Gradients::new(tape, sizes, &[projection]);
        let _low = tape.new_tensor(sizes.low(), sizes.dtype);
        tape.product();
        let weight = dense(tape, projection, sizes.dtype);
        let input = tape.new_tensor(sizes.query, sizes.dtype);
        drop(weight);
        gradients.finish(tape, input)
    })
}

/// `apply_lora_mlp_swiglu`.
pub(super) fn mlp<'a>(
    tape: &mut Tape<'a>,
    sizes: &'a Sizes,
    block: &'a DecoderBlock,
    scratch: &'a Scratch,
    x: &Tensor,
) -> Tensor {
    let names = [0, 1, 2].map(|place| &block.mlp[place]);
    let [gate, up, down] = names;
    let rows = sizes.shape.rows;
    if names.iter().any(|projection| projection.adapter.is_none()) {
        let gate = linear::forward(tape, gate, x, rows);
        let active = tape.elementwise(&gate, Saves::Input);
        drop(gate);
        let up = linear::forward(tape, up, x, rows);
        let inner = tape.multiply(&active, &up);
        drop((active, up));
        return linear::forward(tape, down, &inner, rows);
    }
    let gated = product(tape, sizes, gate, scratch);
    let raised = product(tape, sizes, up, scratch);
    let inner = tape.new_tensor(sizes.inner, sizes.dtype);
    let y = product(tape, sizes, down, scratch);
    drop(inner);
    let saved = [x, &gated, &raised];
    tape.custom(y, &inputs(x, &names), &saved, move |tape, saved, _| {
        let casts = copies(tape, sizes, &names);
        scratch.unpack(tape, down, sizes.dtype);
        let inner = tape.new_tensor(sizes.inner, sizes.dtype);
        tape.product();
        drop(tape.new_tensor(sizes.low(), sizes.dtype));
        let mut gradients = Gradients { copies: casts, made: copies(tape, sizes, &names) };
        let _low = [(); 2].map(|()| tape.new_tensor(sizes.low(), sizes.dtype));
        for projection in [up, gate] {
            drop(dense(tape, projection, sizes.dtype));
        }
        drop(inner);
        gradients.finish(tape, Tensor::of(&saved[0], sizes.hidden, sizes.dtype))
    })
}

/// `matmul_lora` (`kernels/utils.py:1855`): the base product, to which the adapter's is added in place.
fn product(tape: &mut Tape<'_>, sizes: &Sizes, linear: &Linear, scratch: &Scratch) -> Tensor {
    scratch.unpack(tape, linear, sizes.dtype);
    let y = tape.new_tensor(sizes.shape.rows * linear.out_features, sizes.dtype);
    tape.product();
    if let Some([a, b]) = &linear.adapter {
        let copy = tape.new_as(ADAPTER_COPIES, a.tensor.elements, sizes.dtype);
        let low = tape.new_tensor(sizes.low(), sizes.dtype);
        drop(copy);
        drop((tape.new_as(ADAPTER_COPIES, b.tensor.elements, sizes.dtype), low));
    }
    y
}

/// `fast_dequantize` without the shared buffer.
fn dense(tape: &mut Tape<'_>, linear: &Linear, dtype: Dtype) -> Option<Tensor> {
    packed(linear).map(|elements| tape.new_as(DENSE, elements, dtype))
}

/// What a function's gradients go to: its input, and the matrices of its adapters.
fn inputs<'t>(x: &'t Tensor, linears: &[&'t Linear]) -> Vec<&'t Tensor> {
    let matrices = linears.iter().flat_map(|linear| linear.adapter.iter().flatten().map(|matrix| &matrix.tensor));
    std::iter::once(x).chain(matrices).collect()
}

/// One tensor for each matrix, in the type of the activations.
fn copies(tape: &mut Tape<'_>, sizes: &Sizes, linears: &[&Linear]) -> Vec<Tensor> {
    let matrices = linears.iter().flat_map(|linear| linear.adapter.iter().flatten());
    matrices.map(|matrix| tape.new_as(ADAPTER_COPIES, matrix.tensor.elements, sizes.dtype)).collect()
}

/// Copies of the matrices, and their gradients, which a function's backward holds until it returns.
struct Gradients {
    copies: Vec<Tensor>,
    made: Vec<Tensor>,
}

impl Gradients {
    fn new(tape: &mut Tape<'_>, sizes: &Sizes, linears: &[&Linear]) -> Self {
        Self { copies: copies(tape, sizes, linears), made: copies(tape, sizes, linears) }
    }

    /// The function returns; the engine casts each gradient to its matrix' type.
    fn finish(&mut self, tape: &mut Tape<'_>, input: Tensor) -> Vec<Option<Tensor>> {
        self.copies.clear();
        let made = std::mem::take(&mut self.made);
        let cast = made.into_iter().map(|gradient| Some(tape.new_as(ADAPTER_COPIES, gradient.elements, Dtype::F32)));
        std::iter::once(Some(input)).chain(cast.collect::<Vec<_>>()).collect()
    }
}
