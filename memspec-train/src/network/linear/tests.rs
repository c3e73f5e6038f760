//! An adapter that is folded into the rows of a packed weight, as a card does it, is the adapter beside it.

use super::*;
use crate::kernels::place::{Place, fetch};
use crate::network::parameter::OptimizerStates;
use crate::network::testing::{assert_near, random};
use crate::quantize::nf4::{Nf4Encoder, Scales};

const TOKENS: usize = 5;
/// More rows than fit one panel.
const SHAPE: [usize; 2] = [3 * PANEL_ELEMENTS / 2 / 192, 192];
const RANK: usize = 8;

/// NF4 with double quantization, and an adapter.
fn adapted_linear() -> Linear {
    let [rows, columns] = SHAPE;
    let mut encoder = Nf4Encoder::new(rows * columns);
    encoder.push(&fetch(&random("weight", SHAPE, 0.5)).unwrap()).unwrap();
    let packed = encoder.finish(true).unwrap();
    let Scales::Double { codes, scales, offset } = packed.scales else { unreachable!("asked for") };
    let scales = storage::write(storage::zeros_tensor([scales.len()]), &scales);
    let absmax = AbsMax::Double { codes: Place::Cpu.bytes(&codes), scales, offset };
    let trained = |seed, shape| Parameter::trained(random(seed, shape, 0.3), OptimizerStates::None, Place::Cpu);
    let (a, b) = (trained("a", [RANK, columns]), trained("b", [rows, RANK]));
    Linear {
        weight: Weight::Nf4 { codes: Place::Cpu.bytes(&packed.codes), absmax, shape: SHAPE },
        bias: None,
        adapter: Some(LowRank { a, b, scale: 2.0, dropout: None, magnitude: None }),
    }
}

#[test]
fn forward_and_the_gradient_of_the_input_are_those_of_the_adapter_beside_it() {
    let linear = adapted_linear();
    let [outputs, inputs] = SHAPE;
    let x = random("x", [TOKENS, inputs], 1.0);
    for rows in [linear.rows(), Rows { first: 100, count: outputs - 333 }] {
        let beside = linear.adapted(&x, rows, &mut None, None);
        let y = kernels::buffer(&x, TOKENS, rows.count);
        assert_near(&linear.base(y, &x, rows, linear.adapter.as_ref(), Onto::Nothing), &beside);

        let g = random("g", [TOKENS, rows.count], 1.0);
        let mut g_low = kernels::buffer(&g, TOKENS, RANK);
        g_low = linear.low_backward(g_low, &[(rows, &g)]).unwrap();
        let beside = linear.input_backward_rows(&g, rows, Some(&g_low), None);
        let mut folded = Some(kernels::buffer(&g, TOKENS, inputs));
        let mut onto = Onto::Nothing;
        linear.weight.panels(&g, rows, linear.adapter.as_ref(), |piece| {
            let how = Product { a_columns: piece.outputs.taken(), b_rows: piece.rows.taken(), ..Product::NN };
            folded = folded.take().map(|gx| onto.product(gx, &g, piece.matrix, how));
            onto = Onto::Itself;
        });
        assert_near(&folded.unwrap(), &beside);
    }
}
