//! DoRA (`peft/tuners/lora/dora.py`): an adapted linear whose outputs are scaled to a trained magnitude, for which every pass needs the norms of the
//! whole adapted weight.

use super::super::super::Part;
use super::super::super::torch::{Tape, Tensor};
use super::weights::{Linear, Weight};
use crate::model::Dtype;

/// Weights of an adapted linear, written out for their norms.
const WHOLE_WEIGHTS: Part = Part { what: "whole weights for DoRA's norms", setting: "adapter" };

/// What a magnitude starts from, the norms of the weight (`DoraLinearLayer.update_layer`), takes while it is computed.
pub(super) fn measure(tape: &mut Tape<'_>, linear: &Linear) {
    tape.labelled(WHOLE_WEIGHTS, |tape| {
        let weight = whole_weight(tape, linear);
        let elements = linear.out_features * linear.in_features;
        let dtype = weight.as_ref().map_or(Dtype::Bf16, |weight| weight.dtype);
        let _product = tape.new_tensor(elements, dtype);
        tape.product();
        let _scaled = tape.new_tensor(elements, dtype);
        let _sum = tape.new_tensor(elements, dtype);
    });
}

/// What the module returns (`variants.py`, `DoraLinearVariant.forward`): the base's output `base` and, in float32, what makes it the adapted weight's.
pub(super) fn forward<'a>(tape: &mut Tape<'a>, linear: &Linear, x: &Tensor, base: &Tensor, rows: u64) -> Tensor {
    let Some(([a, b], magnitude)) = linear.adapter.as_ref().zip(linear.magnitude.as_ref()) else { return base.clone() };
    let dropped = linear.dropout.then(|| tape.dropout(x));
    let x = dropped.as_ref().unwrap_or(x);
    // Locals of `DoraLinearLayer.forward`.
    let lora_weight_and_graph = lora_weight(tape, linear, x.dtype);
    let mut weight = tape.labelled(WHOLE_WEIGHTS, |tape| whole_weight(tape, linear));
    weight = match (weight, &linear.weight) {
        (Some(packed), _) => Some(tape.labelled(WHOLE_WEIGHTS, |tape| tape.cast(&packed, x.dtype))),
        (None, Weight::Dense(dense)) => {
            Some(tape.labelled(WHOLE_WEIGHTS, |tape| tape.cast(&dense.tensor.clone().detached(), x.dtype)))
        }
        (None, _) => None,
    };
    let norms = norms(tape, linear, x.dtype);
    let scale = {
        // `magnitude / weight_norm`.
        let (elements, y) = (linear.out_features, tape.new_tensor(linear.out_features, Dtype::F32));
        tape.custom(y, &[&magnitude.tensor], &[&norms], move |tape, _, _| {
            vec![Some(tape.new_tensor(elements, Dtype::F32))]
        })
    };
    let inner = tape.linear(x, &a.tensor, None, rows);
    let lora = tape.linear(&inner, &b.tensor, None, rows);
    drop(inner);
    let unscaled = match (&weight, &linear.bias) {
        // The base's output was of the whole input: once more, of what dropout left.
        (Some(weight), _) if linear.dropout => tape.linear(x, weight, None, rows),
        // Less its bias.
        (_, Some(_)) => tape.copy(base),
        (_, None) => base.clone(),
    };
    let less_one = tape.copy(&scale);
    let rescaled = tape.multiply_columns(&less_one, &unscaled);
    let adapted = {
        let unscaled = tape.multiply_columns(&scale, &lora);
        tape.scale(&unscaled)
    };
    let change = tape.add(&rescaled, &adapted);
    drop((rescaled, adapted, less_one, weight, unscaled, lora, lora_weight_and_graph));
    tape.add(base, &change)
}

/// `dequantize_module_weight`; `None`: the weight is there as it is.
fn whole_weight(tape: &mut Tape<'_>, linear: &Linear) -> Option<Tensor> {
    match &linear.weight {
        Weight::Dense(_) => None,
        Weight::Nf4 { elements, double, .. } => {
            let decoded = double.then(|| tape.new_tensor(elements / 64, Dtype::F32));
            let weight = tape.new_tensor(*elements, Dtype::Bf16);
            drop(decoded);
            Some(weight)
        }
        Weight::Int8 { elements, .. } => {
            // Codes times their row's scale, and then by 1/127 (`bitsandbytes/backends/default/ops.py`, `int8_vectorwise_dequant`).
            let _scaled = tape.new_tensor(*elements, Dtype::F32);
            Some(tape.new_tensor(*elements, Dtype::F32))
        }
    }
}

/// `getlora_weight_and_graph`: both matrices applied to an identity, in `dtype`. Nothing goes back through it, but its graph lives as long as the local does.
fn lora_weight(tape: &mut Tape<'_>, linear: &Linear, dtype: Dtype) -> (Option<Tensor>, Vec<Tensor>) {
    let Some([a, b]) = &linear.adapter else { return (None, Vec::new()) };
    let (width, rank) = (linear.in_features, a.tensor.elements / linear.in_features.max(1));
    // Both products save their inputs; in the first pass of a checkpoint these go with the calls.
    let kept = tape.keeps_saved();
    let identity = tape.labelled(WHOLE_WEIGHTS, |tape| tape.new_tensor(width * width, a.tensor.dtype));
    let _first = tape.autocast_operand(&a.tensor);
    let operand = tape.labelled(WHOLE_WEIGHTS, |tape| tape.autocast_operand(&identity));
    let inner = tape.new_tensor(width * rank, operand.dtype);
    tape.product();
    let mut graph = Vec::from_iter(kept.then_some(operand));
    let second = tape.autocast_operand(&b.tensor);
    let narrow = tape.labelled(WHOLE_WEIGHTS, |tape| tape.new_tensor(width * linear.out_features, second.dtype));
    tape.product();
    graph.extend(kept.then_some(inner));
    drop(identity);
    let wide = tape.labelled(WHOLE_WEIGHTS, |tape| tape.cast(&narrow, dtype));
    (Some(wide), graph)
}

/// `get_weight_norm`: the norm of each row of the weight and the scaled product, in `dtype`.
fn norms(tape: &mut Tape<'_>, linear: &Linear, dtype: Dtype) -> Tensor {
    let elements = linear.out_features * linear.in_features;
    let _sum = tape.labelled(WHOLE_WEIGHTS, |tape| {
        let _scaled = tape.new_tensor(elements, dtype);
        tape.new_tensor(elements, dtype)
    });
    let norms = tape.new_tensor(linear.out_features, Dtype::F32);
    tape.cast(&norms, dtype)
}
