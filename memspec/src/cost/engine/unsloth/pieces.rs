//! LLM.int8 under Unsloth: bitsandbytes' products break a layer into pieces, and only what lies between them is compiled. The layer is transformers'
//! (`transformers/models/llama/modeling_llama.py`), its adapters Unsloth's (`unsloth_zoo/compiler.py:4966`, `lora_forward`).

use super::super::super::torch::{Saves, Tape, Tensor};
use super::super::trl::weights::{DecoderBlock, Linear, Weight};
use super::super::trl::{POSITIONS, linear};
use super::{ADAPTER_COPIES, Sizes};
use crate::model::Dtype;

/// Cosines and sines of a pass.
pub(super) fn positions(tape: &mut Tape<'_>, sizes: &Sizes) -> Vec<Tensor> {
    let angles = sizes.shape.attention.tokens * sizes.shape.model.head_dim;
    (0..2).map(|_| tape.new_as(POSITIONS, angles, sizes.dtype)).collect()
}

/// The layer.
pub(super) fn layer<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, block: &'a DecoderBlock, x: &Tensor) -> Tensor {
    let rows = sizes.shape.rows;
    let normed = norm(tape, x, rows);
    let attended = attention(tape, sizes, block, &normed);
    // The sum and the norm after it are one piece.
    let residual = tape.add(x, &attended);
    drop(normed);
    let normed = norm(tape, &residual, rows);
    drop(attended);
    let output = mlp(tape, sizes, block, &normed);
    tape.add(&residual, &output)
}

/// A compiled norm: saves its input and the reciprocal norms.
pub(super) fn norm(tape: &mut Tape<'_>, x: &Tensor, rows: u64) -> Tensor {
    let y = tape.new_tensor(x.elements, x.dtype);
    let inverse = tape.new_tensor(rows, Dtype::F32);
    let (elements, dtype) = (x.elements, x.dtype);
    tape.custom(y, &[x], &[x, &inverse], move |tape, _, _| vec![Some(tape.new_tensor(elements, dtype))])
}

fn attention<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, block: &'a DecoderBlock, x: &Tensor) -> Tensor {
    // Locals of the function until it returns.
    let [q, k, v] = [0, 1, 2].map(|place| adapted(tape, sizes, &block.input[place], x));
    let out = attend(tape, sizes, [&q, &k, &v]);
    adapted(tape, sizes, &block.output, &out)
}

/// RoPE and attention, one piece: rotated queries and keys are saved, what they were made of is not.
fn attend<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, [q, k, v]: [&Tensor; 3]) -> Tensor {
    let dtype = sizes.dtype;
    let rotated = [sizes.query, sizes.key].map(|elements| tape.new_tensor(elements, dtype));
    let words = [(); 2].map(|()| tape.new_tensor(1, Dtype::I64));
    let out = tape.new_tensor(sizes.query, dtype);
    let log_sums = tape.new_tensor(sizes.log_sums, Dtype::F32);
    let seen = out.view(sizes.query);
    let saved = [&rotated[0], &rotated[1], v, &seen, &log_sums, &words[0], &words[1]];
    tape.custom(out, &[q, k, v], &saved, move |tape, _, _| {
        let [queries, keys, values] =
            [sizes.query, sizes.key, sizes.key].map(|elements| tape.new_tensor(elements, dtype));
        drop(tape.new_tensor(sizes.attention_workspace, Dtype::U8));
        let turned_keys = tape.new_tensor(sizes.key, dtype);
        drop(keys);
        let turned = tape.new_tensor(sizes.query, dtype);
        drop(queries);
        vec![Some(turned), Some(turned_keys), Some(values)]
    })
}

fn mlp<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, block: &'a DecoderBlock, x: &Tensor) -> Tensor {
    let [gate, up, down] = [0, 1, 2].map(|place| &block.mlp[place]);
    let gate = adapted(tape, sizes, gate, x);
    let active = tape.elementwise(&gate, Saves::Input);
    let up = adapted(tape, sizes, up, x);
    let product = tape.multiply(&active, &up);
    adapted(tape, sizes, down, &product)
}

/// A product and its adapter: the sum is a new tensor, and the base product goes.
fn adapted<'a>(tape: &mut Tape<'a>, sizes: &'a Sizes, linear: &'a Linear, x: &Tensor) -> Tensor {
    let rows = sizes.shape.rows;
    let base = match &linear.weight {
        Weight::Int8 { elements, rows: out, .. } => linear::int8(tape, x, *elements, *out, rows),
        Weight::Dense(_) | Weight::Nf4 { .. } => return linear::forward(tape, linear, x, rows),
    };
    let Some([a, b]) = &linear.adapter else { return base };
    let dtype = sizes.dtype;
    let copies = [a, b].map(|matrix| tape.new_as(ADAPTER_COPIES, matrix.tensor.elements, dtype));
    let low = tape.new_tensor(sizes.low(), dtype);
    tape.product();
    let y = tape.new_tensor(base.elements, dtype);
    let saved = [x, &copies[0], &copies[1], &low];
    let inputs = x.elements;
    tape.custom(y, &[&base, x, &a.tensor, &b.tensor], &saved, move |tape, _, gradients| {
        tape.product();
        let made = [a, b].map(|matrix| Some(tape.new_as(ADAPTER_COPIES, matrix.tensor.elements, Dtype::F32)));
        let low = tape.new_tensor(sizes.low(), dtype);
        let from_adapter = tape.new_tensor(inputs, dtype);
        drop(low);
        let [a, b] = made;
        vec![gradients[0].clone(), Some(from_adapter), a, b]
    })
}
