//! The MLP's nonlinearity, as `transformers/activations.py` computes it.

use super::super::super::torch::{Saves, Tape, Tensor};
use super::weights::DecoderBlock;
use crate::model::{Activation, Dtype};

/// `act_fn(x)`.
pub(super) fn forward(tape: &mut Tape<'_>, activation: Activation, block: &DecoderBlock, x: &Tensor) -> Tensor {
    match activation {
        // One kernel each, whose derivative needs the input.
        Activation::Silu | Activation::Gelu | Activation::GeluTanh | Activation::Other => {
            tape.elementwise(x, Saves::Input)
        }
        Activation::Relu => tape.elementwise(x, Saves::Output),
        Activation::ReluSquared => {
            let positive = tape.elementwise(x, Saves::Output);
            // `pow` is one of the functions that autocast has in float32 (`aten/src/ATen/autocast_mode.h`).
            let positive = tape.autocast_wide(&positive);
            tape.square(&positive)
        }
        Activation::GeluNew => gelu_new(tape, x),
        Activation::Xielu => xielu(tape, block, x),
    }
}

/// `0.5 * x * (1.0 + tanh(c * (x + 0.044715 * pow(x, 3.0))))` (`activations.py:66`); under autocast all from `pow` on is float32.
fn gelu_new(tape: &mut Tape<'_>, x: &Tensor) -> Tensor {
    let half = tape.scale(x);
    let mut inner = {
        let wide = tape.autocast_wide(x);
        tape.square(&wide)
    };
    inner = tape.scale(&inner);
    inner = tape.add(x, &inner);
    inner = tape.scale(&inner);
    inner = tape.elementwise(&inner, Saves::Output);
    inner = tape.shift(&inner);
    tape.multiply(&half, &inner)
}

/// xIELU without its CUDA extension (`activations.py:281`): the learned factors are vectors of one, so that softplus' float32, where autocast has it,
/// makes all float32.
fn xielu(tape: &mut Tape<'_>, block: &DecoderBlock, x: &Tensor) -> Tensor {
    let [positive, negative] = [0, 1].map(|at| {
        let alpha = block.factors.get(at).map(|factor| tape.autocast_wide(&factor.tensor))?;
        Some(tape.elementwise(&alpha, Saves::Input))
    });
    let (Some(positive), Some(negative)) = (positive, negative) else { return tape.elementwise(x, Saves::Input) };
    let negative = tape.shift(&negative);
    let is_positive = tape.new_tensor(x.elements, Dtype::Bool);
    let above = {
        let linear = tape.multiply(&positive, x);
        let squared = tape.multiply(&linear, x);
        drop(linear);
        let tail = tape.scale(x);
        tape.add(&squared, &tail)
    };
    let below = {
        let mut y = tape.minimum(x);
        y = tape.autocast_wide(&y);
        y = tape.expm1(&y);
        y = tape.subtract(&y, x);
        y = tape.multiply(&y, &negative);
        let tail = tape.scale(x);
        tape.add(&y, &tail)
    };
    tape.choose(&is_positive, &above, &below)
}
