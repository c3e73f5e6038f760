//! A linear and its adapter: the base product in its storage's way, and what LoRA adds.

use super::super::super::torch::{Tape, Tensor};
use super::parallel::tensor;
use super::weights::{Linear, Weight};
use super::{DENSE, INT8_INPUTS, dora};
use crate::model::Dtype;

/// `module(x)` on `rows` rows.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, linear: &Linear, x: &Tensor, rows: u64) -> Tensor {
    tensor::forward(tape, linear, x, |tape, x| adapted(tape, linear, x, rows))
}

/// The linear and its adapter (`peft/tuners/lora/layer.py:1100`, `lora/bnb.py:533`).
fn adapted<'a>(tape: &mut Tape<'a>, linear: &Linear, x: &Tensor, rows: u64) -> Tensor {
    let (mut y, input) = match &linear.weight {
        Weight::Dense(weight) => {
            let bias = linear.bias.as_ref().map(|bias| &bias.tensor);
            let y = tape.linear(x, &weight.tensor, bias, rows);
            let Some([a, _]) = &linear.adapter else { return y };
            // `_cast_input_dtype`: to the adapter's type; autocast then makes its own copy of that for each adapted module.
            (y, tape.cast(x, a.tensor.dtype))
        }
        Weight::Nf4 { elements, double, compute, .. } => {
            let y = nf4(tape, x, (*elements, *double), *compute, linear.bias.is_some(), rows);
            let Some([a, _]) = &linear.adapter else { return y };
            // "as the output may be a view": PEFT clones it.
            (tape.copy(&y), without_autocast(tape, x, a.tensor.dtype))
        }
        Weight::Int8 { elements, rows: out, .. } => {
            let y = int8(tape, x, *elements, *out, rows);
            let Some([a, _]) = &linear.adapter else { return y };
            (y, without_autocast(tape, x, a.tensor.dtype))
        }
    };
    let Some([a, b]) = &linear.adapter else { return y };
    let own = y.dtype;
    // A dense linear returns its base's type; a packed one sees to that without autocast only.
    let converts = matches!(linear.weight, Weight::Dense(_)) || tape.autocast.is_none();
    if linear.magnitude.is_some() {
        y = dora::forward(tape, linear, &input, &y, rows);
        return if converts { tape.cast(&y, own) } else { y };
    }
    let inner = if linear.dropout {
        let dropped = tape.dropout(&input);
        tape.linear(&dropped, &a.tensor, None, rows)
    } else {
        tape.linear(&input, &a.tensor, None, rows)
    };
    let outer = tape.linear(&inner, &b.tensor, None, rows);
    drop(inner);
    let mut scaled = tape.scale(&outer);
    drop(outer);
    if !matches!(linear.weight, Weight::Dense(_)) {
        scaled = without_autocast(tape, &scaled, own);
    }
    y = tape.add(&y, &scaled);
    drop(scaled);
    if converts { tape.cast(&y, own) } else { y }
}

/// What PEFT casts itself where autocast does not (`lora/bnb.py:552`, `requires_conversion`).
fn without_autocast(tape: &mut Tape<'_>, x: &Tensor, dtype: Dtype) -> Tensor {
    if tape.autocast.is_some() { x.clone() } else { tape.cast(x, dtype) }
}

/// A 4 bit product (`bitsandbytes/backends/cuda/ops.py:904`, `autograd/_functions.py:384`): the weight is unpacked, forward and backward; nothing is
/// saved.
fn nf4<'a>(
    tape: &mut Tape<'a>,
    x: &Tensor,
    (elements, double): (u64, bool),
    compute: Dtype,
    biased: bool,
    rows: u64,
) -> Tensor {
    let want = x.dtype;
    // `bitsandbytes/nn/modules.py:628`
    let x = tape.cast(x, compute);
    let (dtype, inputs) = (x.dtype, x.elements);
    let maxima = elements / 64;
    let (decoded, offset, dense) = tape.labelled(DENSE, |tape| {
        // The maxima, decoded and with their offset: locals of the function both.
        let decoded = double.then(|| tape.new_tensor(maxima, Dtype::F32));
        let offset = double.then(|| tape.new_tensor(maxima, Dtype::F32));
        (decoded, offset, tape.new_tensor(elements, dtype))
    });
    let y = tape.new_tensor(elements / (inputs / rows).max(1) * rows, dtype);
    if biased {
        tape.biased_product();
    } else {
        tape.product();
    }
    drop((decoded, offset, dense));
    let y = tape.custom(y, &[&x], &[], move |tape, _, _| {
        // Here the offset is added in place, and the maxima go before the product.
        let _dense = tape.labelled(DENSE, |tape| {
            let _decoded = double.then(|| tape.new_tensor(maxima, Dtype::F32));
            tape.new_tensor(elements, dtype)
        });
        let gradient = tape.new_tensor(inputs, dtype);
        tape.product();
        vec![Some(gradient)]
    });
    tape.cast(&y, want)
}

/// LLM.int8 (`bitsandbytes/autograd/_functions.py:187`): the context keeps the input as a plain attribute, out of checkpointing's reach, until the graph
/// dies.
fn int8<'a>(tape: &mut Tape<'a>, x: &Tensor, elements: u64, out: u64, rows: u64) -> Tensor {
    let (inputs, dtype, outputs) = (x.elements, x.dtype, out * rows);
    let half = (dtype != Dtype::F16).then(|| tape.new_tensor(inputs, Dtype::F16));
    let statistics = tape.new_tensor(rows, Dtype::F32);
    let codes = tape.new_tensor(inputs, Dtype::I8);
    let magnitude = tape.new_tensor(inputs, Dtype::F16);
    let outliers = tape.new_tensor(inputs, Dtype::Bool);
    drop((magnitude, outliers, half));
    let sums = tape.new_tensor(outputs, Dtype::I32);
    let halves = tape.new_tensor(outputs, Dtype::F16);
    let y = tape.cast(&halves, dtype).detached();
    drop((sums, halves));
    if tape.grad_enabled && x.requires_grad() {
        x.storage.relabel(INT8_INPUTS);
        tape.pin(x);
    }
    let y = tape.custom(y, &[x], &[], move |tape, _, _| {
        let _dense = tape.new_as(DENSE, elements, dtype);
        vec![Some(tape.new_tensor(inputs, dtype))]
    });
    drop((statistics, codes));
    y
}
